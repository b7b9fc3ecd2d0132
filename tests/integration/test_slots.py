"""`swiftbuild slots`: what the loader will do, and changes that a cut cannot tear."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.model.bootctl import BootControl
from swiftbuild.wire import bootctl

from tests import images
from tests.integration.test_cli import swiftbuild


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk image with a slot, as it is built."""
    folder = tmp_path_factory.mktemp("built")
    return images.build(images.parts(folder), "good")


@pytest.fixture
def image(built: Path, tmp_path: Path) -> Path:
    """A copy to write to."""
    subprocess.run(["/usr/bin/cp", "--sparse=always", str(built), str(tmp_path / "disk.img")], check=True)
    return tmp_path / "disk.img"


def slots(*words: object, status: int = 0) -> Any:
    """The command's document."""
    done = swiftbuild("--json", "slots", *map(str, words))
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def copies(image: Path) -> list[object]:
    """Both copies as they are on the disk."""
    with image.open("rb") as file:
        file.seek(images.start_of(image, "bootctl"))
        return list(bootctl.read_copies(file.read(1 << 20)))


def put(image: Path, at: int, data: bytes) -> None:
    """Writes into the partition bootctl."""
    with image.open("r+b") as file:
        file.seek(images.start_of(image, "bootctl") + at)
        file.write(data)


def test_a_new_image_starts_slot_a(image: Path) -> None:
    told = slots("show", image)
    assert told["copies"] == [{"sequence": 1, "counts": True}, {"sequence": 1, "counts": False}]
    assert (told["rollback_floor"], told["last_booted"]) == (1, None)
    a, b = told["slots"]
    assert (a["version"], a["priority"], a["good"], a["place"], a["refused"]) == ("0.1.0", 15, True, 1, None)
    assert (b["version"], b["place"], b["refused"]) == ("", None, "unbootable")
    assert "slot b   empty" in swiftbuild("slots", "show", str(image)).stdout


def test_each_change_is_one_copy_and_the_last_one_counts(image: Path) -> None:
    first = copies(image)[0]
    told = slots("set", image, "a", "--trial", "--tries", 2)
    assert [copy["counts"] for copy in told["copies"]] == [False, True]
    assert copies(image)[0] == first, "the old block is whole until the new one counts"
    assert (told["slots"][0]["good"], told["slots"][0]["tries"], told["slots"][0]["place"]) == (False, 2, 1)
    told = slots("set", image, "a", "--tries", 0, "--floor", 2)
    assert [copy["sequence"] for copy in told["copies"]] == [3, 2]
    assert (told["slots"][0]["refused"], told["rollback_floor"]) == ("below-floor", 2)
    assert slots("show", image) == told
    told = slots("set", image, "a", "--good", "--bad")
    assert told["slots"][0]["refused"] == "bad"
    assert "not tried: bad" in swiftbuild("slots", "show", str(image)).stdout


def test_a_damaged_copy_is_told_and_written_over(image: Path) -> None:
    put(image, 5000, b"not in a copy")
    put(image, bootctl.COPY_OFFSETS[0] + 700, b"\1")
    assert "digest" in slots("show", image)["copies"][0]["damage"]
    assert slots("set", image, "b", "--priority", 3)["copies"] == [
        {"sequence": 2, "counts": True}, {"sequence": 1, "counts": False}]
    assert all(isinstance(copy, BootControl) for copy in copies(image))
    for offset in bootctl.COPY_OFFSETS:
        put(image, offset + 700, b"\2")
    before = image.read_bytes()
    assert "neither copy is valid" in slots("set", image, "a", "--good", status=6)["error"]
    assert "neither copy is valid" in slots("show", image, status=6)["error"]
    assert image.read_bytes() == before


@pytest.mark.parametrize(("words", "status", "says"), [
    (("a",), 2, "nothing to set"),
    (("c", "--good"), 2, "no slot; there are: a, b"),
    (("a", "--floor", "0"), 2, "never falls"),
    (("a", "--priority", "16"), 2, ""),
    (("a", "--tries", "-1"), 2, ""),
])  # fmt: skip
def test_what_makes_no_sense_changes_nothing(image: Path, words: tuple[str, ...], status: int, says: str) -> None:
    before = copies(image)
    done = swiftbuild("slots", "set", str(image), *words)
    assert done.returncode == status
    assert says in done.stderr
    assert copies(image) == before


def test_no_image_and_an_image_in_use(image: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no image\n" * 1000)
    assert str(tmp_path / "text") in slots("show", tmp_path / "text", status=6)["error"]
    assert "no file" in slots("show", tmp_path / "none", status=2)["error"]
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        assert "is in use" in slots("set", image, "a", "--good", status=1)["error"]
    finally:
        holder.communicate()
    slots("set", image, "a", "--good")


HOLD = """
import sys
from pathlib import Path
from swiftbuild.effects.imagelock import writing
with writing(Path(sys.argv[1]), "image"):
    print("held", flush=True)
    sys.stdin.read()
"""
"""Holds the image as QEMU does, until its input ends."""
