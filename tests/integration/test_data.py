"""`swiftbuild data`: volumes made, filled, listed, checked, copied out of; and what people get wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.effects.sparse import copy_sparse

from tests.fakes import ROOT
from tests.images import build, parts, start_of

BLOCK = 4096


def data(*words: str | Path, status: int = 0) -> str:
    """What `swiftbuild data` prints: its result, or after a failure its words on stderr."""
    done = subprocess.run([sys.executable, "-m", "swiftbuild", "-q", "data", *map(str, words)], cwd=ROOT, check=False,
                          capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status in {0, 6} and done.stdout else done.stderr


def document(*words: str | Path, status: int = 0) -> dict[str, Any]:
    """The same with --json."""
    loaded: dict[str, Any] = json.loads(data(*words, "--json", status=status))
    return loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with every kind of file that a volume takes from a folder."""
    top = tmp_path / "site"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "deep" / "er" / "big").write_bytes(os.urandom(3_000_001))
    (top / "tool").write_text("#!/bin/sh\n")
    (top / "tool").chmod(0o700)
    (top / "link").symlink_to("deep/er")
    (top / "ümläut").write_text("x")
    return top


@pytest.fixture
def volume(tmp_path: Path, folder: Path) -> Path:
    made = tmp_path / "data.img"
    data("mkfs", made, "--size", "16M", "--from", folder)
    return made


def test_what_goes_in_comes_out(tmp_path: Path, folder: Path, volume: Path) -> None:
    rows = {row["name"]: row for row in document("ls", volume, "-R")["entries"]}
    assert set(rows) == {"deep", "deep/er", "deep/er/big", "tool", "link", "ümläut"}
    assert (oct(rows["tool"]["mode"]), oct(rows["ümläut"]["mode"])) == ("0o100755", "0o100644")
    assert rows["link"]["target"] == "deep/er"
    out = tmp_path / "out"
    out.mkdir()
    data("cp", f"{volume}:/deep", out)
    assert (out / "deep/er/big").read_bytes() == (folder / "deep/er/big").read_bytes()
    data("cp", f"{volume}:/tool", out)
    assert (out / "tool").read_text() == "#!/bin/sh\n"
    assert document("fsck", volume)["ok"]


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, folder: Path, volume: Path) -> None:
    other = tmp_path / "elsewhere" / "tree"
    shutil.copytree(folder, other, symlinks=True)
    os.utime(other / "tool", (1, 1))
    data("mkfs", tmp_path / "other.img", "--size", "16M", "--from", other)
    assert (tmp_path / "other.img").read_bytes() == volume.read_bytes()
    (other / "tool").write_text("#!/bin/ash\n")
    data("mkfs", tmp_path / "third.img", "--size", "16M", "--from", other)
    assert (tmp_path / "third.img").read_bytes() != volume.read_bytes()


def test_files_are_copied_into_an_image(tmp_path: Path, volume: Path) -> None:
    file = tmp_path / "tool"
    for text in ("first\n", "second\n"):
        file.write_text(text)
        data("cp", file, f"{volume}:/deep")
    data("cp", f"{volume}:/deep/tool", tmp_path)
    assert file.read_text() == "second\n"
    report = document("fsck", volume)
    assert (report["ok"], report["inodes"]) == (True, 9)  # six paths, the new one, the root and the table of quotas


def test_damage_is_found_and_named(volume: Path) -> None:
    facts = document("dump", volume)
    table = 2 + facts["log_blocks"]
    with volume.open("r+b") as file:
        file.seek(table * BLOCK + 1000)
        file.write(b"\xff" * 8)
    report = document("fsck", volume, status=6)
    assert not report["ok"]
    assert report["findings"][0]["block"] == table
    assert "fault" in data("fsck", volume, status=6)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["ls", "VOLUME", "/nowhere"], 2, "/nowhere: there is no such file in the volume\n"),
        (["ls", "VOLUME", "/deep/err"], 2, "there is no such file in the volume; did you mean '/deep/er'?"),
        (["ls", "VOLUME", "/dep/er/big"], 2, "there is no such file in the volume; did you mean '/deep/er/big'?"),
        (["cp", "VOLUME:/toll", "SITE"], 2, "there is no such file in the volume; did you mean '/tool'?"),
        (["cp", "TEXT", "VOLUME:/deap"], 2, "there is no such file in the volume; did you mean '/deep'?"),
        (["ls", "SITE"], 2, "is a folder, not an image"),
        (["ls", "TEXT"], 6, "neither a volume nor a disk image"),
        (["ls", "EMPTY"], 6, "is empty, not an image"),
        (["mkfs", "VOLUME"], 2, "is there already"),
        (["mkfs", "NEW", "--size", "1M"], 2, "not a size of at least"),
        (["mkfs", "NEW", "--from", "TEXT"], 2, "no such folder"),
        (["mkfs", "NEW", "--label", "x" * 33], 3, "does not fit"),
        (["mkfs", "NEW", "--size", "8M", "--from", "LARGE"], 8, "NEW: no block is free in the volume"),
        (["cp", "TEXT", "SITE"], 2, "one of FROM and TO lies in an image"),
        (["cp", "VOLUME:/tool", "TEXT"], 2, "is no folder"),
        (["cp", "NOTHING", "VOLUME:/"], 2, "there is no file or folder"),
        (["cp", "TEXT", "VOLUME:/nowhere"], 2, "there is no such file in the volume"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, volume: Path, words: list[str], status: int, told: str) -> None:
    before = volume.read_bytes()
    (tmp_path / "TEXT").write_text("no image\n" * 1000)
    (tmp_path / "EMPTY").write_bytes(b"")
    (tmp_path / "LARGE").mkdir()
    (tmp_path / "LARGE" / "file").write_bytes(os.urandom(9 << 20))
    (tmp_path / "SITE").mkdir()
    named = [str(tmp_path / w) if w.isalpha() and w.isupper() else w.replace("VOLUME", str(volume)) for w in words]
    named = [str(volume) if w == str(tmp_path / "VOLUME") else w for w in named]
    assert told in data(*named, status=status)
    assert volume.read_bytes() == before
    assert not (tmp_path / "NEW").exists()


def test_a_fifo_is_no_contents(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "neither a file" in data("mkfs", tmp_path / "new.img", "--from", folder, status=3)


def test_what_does_not_fit_has_its_exit_status(tmp_path: Path) -> None:
    made, large = tmp_path / "small.img", tmp_path / "large"
    large.write_bytes(bytes(9 << 20))
    data("mkfs", made, "--size", "8M")
    told = data("cp", large, f"{made}:/", status=8)
    assert f"{made}: no block is free in the volume" in told and "hint: a larger volume" in told


def test_errors_show_the_path_that_was_given(tmp_path: Path, volume: Path) -> None:
    given = os.path.relpath(volume, ROOT)
    assert data("fsck", given).startswith(f"{given}: no fault found")
    assert f"error: {given}: /nowhere" in data("ls", given, "/nowhere", status=2)
    with volume.open("r+b") as file:
        for block in (0, 1):
            file.seek(block * BLOCK + 100)
            file.write(b"\xff" * 64)
    told = data("dump", given, status=6)
    assert f"error: {given}: both superblocks are damaged" in told
    assert str(volume) not in told.replace(given, "")
    told = data("mkfs", tmp_path / "new.img", "--label", "x" * 33, status=3)
    assert f"error: {tmp_path / 'new.img'}: a name, a number or a label does not fit" in told


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk image with a volume on its data partition."""
    here = tmp_path_factory.mktemp("image")
    data("mkfs", here / "volume", "--size", "64M")
    made = build(parts(here), "qemu")
    copy_sparse(here / "volume", made, at=start_of(made, "data"))
    return made


def check(image: Path, status: int) -> dict[str, Any]:
    """What `inspect --check` finds."""
    words = ["-q", "inspect", "--check", "--json", str(image)]
    done = subprocess.run([sys.executable, "-m", "swiftbuild", *words], cwd=ROOT, check=False, capture_output=True,
                          text=True, timeout=600, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout + done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_a_check_of_an_image_checks_its_volume(image: Path) -> None:
    assert check(image, 0) == {"path": str(image), "ok": True, "findings": []}
    at = start_of(image, "data")
    with image.open("r+b") as file:
        file.seek(at + (2 + document("dump", image)["log_blocks"]) * BLOCK + 1000)
        file.write(b"\xff" * 8)
    found = check(image, 6)["findings"]
    assert [row["where"] for row in found] == ["data"] * len(found)
    faults = document("fsck", image, status=6)["findings"]
    assert [row["code"] for row in found] == [row["fault"] for row in faults] != []
    assert f"block {faults[0]['block']}, inode {faults[0]['inode']}: {faults[0]['words']}" in found[0]["text"]


def test_a_check_of_a_slot_image_has_no_volume_to_look_at(image: Path) -> None:
    assert check(image.parent / "slot", 0)["ok"]


def test_a_data_partition_without_a_volume_is_a_fault(image: Path) -> None:
    with image.open("r+b") as file:
        file.seek(start_of(image, "data"))
        file.write(bytes(2 * BLOCK))
    assert [(row["where"], row["code"]) for row in check(image, 6)["findings"]] == [("data", "not-datafs")]
