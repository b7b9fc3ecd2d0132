"""What is no image is told in one line, by every command that takes one; nothing is started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.images import build, parts, start_of

COMMANDS = [["run"], ["run", "-p", "qemu"], ["boot", "-p", "qemu", "--way", "direct"], ["inspect"], ["data", "fsck"]]
NO_IMAGES = {
    "missing": (2, "there is no file"), "missing/below": (2, "there is no file"), "text": (6, "no partition table"),
    "folder": (2, "is a folder, not an image"), "fifo": (2, "is no ordinary file"), "empty": (6, "is empty"),
    "truncated": (6, "no partition table that can be used"), "zeros": (6, "no partition table that can be used"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files that are no images, by name, and `other`, a disk that is not ours."""
    here = tmp_path_factory.mktemp("no-images")
    (here / "folder").mkdir()
    (here / "text").write_text("a host's name\n")
    (here / "empty").touch()
    os.mkfifo(here / "fifo")
    image = build(parts(tmp_path_factory.mktemp("image")), "qemu")
    (here / "truncated").write_bytes(image.read_bytes()[: start_of(image, "base_a") + (1 << 20)])
    with (here / "zeros").open("wb") as file:
        file.truncate(100 << 20)
    with (here / "other").open("wb") as file:
        file.truncate(100 << 20)
    subprocess.run(["/usr/sbin/sfdisk", "-q", str(here / "other")], input=b"label: gpt\nsize=10M\n", check=True)
    yield here
    image.unlink()


def told(*words: str) -> tuple[int, str]:
    """Exit status, and what was said."""
    done = subprocess.run([sys.executable, "-m", "swiftbuild", "-q", *words], cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=120, stdin=subprocess.DEVNULL)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", NO_IMAGES)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_no_image_is_told_in_a_line(folder: Path, command: list[str], name: str) -> None:
    path = folder / name
    status, words = NO_IMAGES[name]
    found, text = told(*command, str(path))
    assert found == status, text
    first, *rest = text.splitlines()
    assert first.startswith("error: ") and str(path) in first and words in first
    assert [line.split(":")[0] for line in rest] in ([], ["", "hint"])


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
def test_a_disk_that_is_not_ours_is_not_booted(folder: Path, command: list[str]) -> None:
    assert told(*command, str(folder / "other")) == (
        6, f"error: {folder / 'other'}: no image of ours: it has no partition base_a\n\n"
        "hint: was it made by swiftbuild image?\n",
    )  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGES)
def test_both_of_a_comparison_are_looked_at(folder: Path, name: str) -> None:
    for pair in ([folder / name, folder / "other"], [folder / "other", folder / name]):
        status, text = told("inspect", "--compare", *map(str, pair))
        assert (status, "Traceback" in text) == (NO_IMAGES[name][0] if pair[0] == folder / name else 6, False)


def test_an_image_that_was_not_built_is_told_with_how_to_build_it(folder: Path) -> None:
    status, text = told("boot", "-p", "hetzner", "-C", str(make_tree(folder)))
    assert status == 2
    assert "no image" in text and "build one: swiftbuild image --profile hetzner" in text


def make_tree(folder: Path) -> Path:
    """A repository in which nothing was built."""
    (folder / "tree/pipeline/profiles").mkdir(parents=True)
    (folder / "tree/pipeline/profiles/hetzner.toml").write_bytes((ROOT / "pipeline/profiles/hetzner.toml").read_bytes())
    (folder / "tree/VERSION").write_text("0.1.0\n")
    return folder / "tree"
