"""What writes into an image refuses while a machine runs from it, by QEMU's own locks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from swiftbuild.effects.imagelock import writing
from swiftbuild.errors import SwiftbuildError
from swiftbuild.machine.media import overlay
from swiftbuild.machine.spec import QEMU

from tests.fakes import ROOT


@contextmanager
def running(file: Path, kind: str) -> Iterator[int]:
    """A QEMU that has this file as a disk and never starts its guest; gives its process."""
    node = f"driver={kind},node-name=disk,file.driver=file,file.filename={file}"
    argv = [QEMU, "-nodefaults", "-display", "none", "-S", "-M", "virt", "-blockdev", node, "-device",
            "virtio-blk-pci,drive=disk", "-qmp", "stdio"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdin and child.stdout
            child.stdin.write(b'{"execute": "qmp_capabilities"}\n')  # answered once the disks are open
            child.stdin.flush()
            assert b'"return"' in child.stdout.readline() + child.stdout.readline(), "QEMU did not start"
            yield child.pid
        finally:
            child.kill()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "some.img"
    file.write_bytes(bytes(1 << 20))
    return file


@pytest.mark.parametrize("how", ["overlay", "itself"])
def test_an_image_with_a_machine_is_not_written(tmp_path: Path, image: Path, how: str) -> None:
    disk, kind = (overlay(image, tmp_path / "over.qcow2"), "qcow2") if how == "overlay" else (image, "raw")
    with running(disk, kind) as process:
        told = rf"IMG is in use: a machine runs from it \(process {process}\)"
        with pytest.raises(SwiftbuildError, match=told) as caught, writing(image, "IMG"):
            pass
        assert "stop the machine first" in caught.value.hint
    with writing(image, "IMG"):
        pass


def test_no_machine_starts_from_an_image_that_is_written(tmp_path: Path, image: Path) -> None:
    disk = overlay(image, tmp_path / "over.qcow2")
    with writing(image, "IMG"), pytest.raises(AssertionError, match="did not start"), running(disk, "qcow2"):
        pass
    with running(disk, "qcow2"):
        pass


def test_two_writers_do_not_meet(image: Path) -> None:
    refused = pytest.raises(SwiftbuildError, match="or another program writes it")
    with writing(image, "IMG"), refused, writing(image, "IMG"):
        pass


def test_data_cp_leaves_such_an_image_as_it_was(tmp_path: Path) -> None:
    volume, file = tmp_path / "data.img", tmp_path / "file"
    file.write_text("new")

    def data(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "swiftbuild", "-q", "data", *words], cwd=ROOT, check=False,
                              capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)

    assert data("mkfs", str(volume), "--size", "8M").returncode == 0
    before = volume.read_bytes()
    with running(volume, "raw"):
        done = data("cp", str(file), f"{volume}:/")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"error: {volume} is in use: a machine runs from it" in done.stderr
        assert data("ls", str(volume)).returncode == 0, "who only reads may"
    assert volume.read_bytes() == before
    assert data("cp", str(file), f"{volume}:/").returncode == 0
