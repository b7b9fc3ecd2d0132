"""Machine slots: one limit for every user of a host, and no way to misuse its files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest
from swiftbuild.errors import BootError, SwiftbuildError
from swiftbuild.machine import slots

NOBODY = 65534
another_user = pytest.mark.skipif(os.getuid() != 0, reason="only root may play another user")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where slots would lie, below a folder that is as /tmp is."""
    monkeypatch.setattr(slots, "WAIT_SECONDS_MAX", 0.3)
    top = Path(tempfile.mkdtemp(prefix="slots-of-all-users-"))
    top.chmod(0o1777)
    yield top / "machines"
    shutil.rmtree(top)


def as_user(user: int, work: Callable[[], None]) -> str:
    """What came of it in a process of that user, who keeps all to themselves (umask)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = "done"
        try:
            os.umask(0o077)
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            work()
        except BaseException as error:  # a test's child tells all of it
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def take(folder: Path) -> Callable[[], None]:
    """Holds every slot there is, for a moment."""

    def work() -> None:
        with slots.slot(folder=folder), slots.slot(folder=folder):
            pass

    return work


@another_user
@pytest.mark.parametrize("users", [(0, NOBODY), (NOBODY, 0), (NOBODY, 1)])
def test_whoever_comes_first_every_user_may_use_the_slots(folder: Path, users: tuple[int, int]) -> None:
    assert [as_user(user, take(folder)) for user in users] == ["done", "done"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert sorted(path.name for path in folder.iterdir()) == ["slot1", "slot2"]


@another_user
def test_users_share_one_limit(folder: Path) -> None:
    with slots.slot(folder=folder), slots.slot(folder=folder):
        assert "HostError: no machine slot became free" in as_user(NOBODY, take(folder))
    assert as_user(NOBODY, take(folder)) == "done"


@another_user
def test_a_folder_of_an_older_version_is_mended_by_its_owner(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o700)
    (folder / "slot1").touch(0o644)
    assert "rm -r" not in as_user(NOBODY, take(folder)), "the hint is no part of the message"
    assert f"{folder}: Permission denied; expected is a folder" in as_user(NOBODY, take(folder))
    assert [as_user(user, take(folder)) for user in (0, NOBODY)] == ["done", "done"]


@pytest.mark.parametrize("make", ["folder", "file", "fifo"])
def test_no_link_is_followed_and_nothing_but_a_file_is_a_slot(folder: Path, make: str) -> None:
    target = folder.parent / "target"
    if make == "folder":
        target.mkdir(mode=0o700)
        folder.symlink_to(target)
    else:
        folder.mkdir()
        target.write_text("mine")
        (folder / "slot1").symlink_to(target) if make == "file" else os.mkfifo(folder / "slot1")
    with pytest.raises(SwiftbuildError, match="machine slots of this host") as caught, slots.slot(folder=folder):
        pass
    assert f"rm -r {folder}" in caught.value.hint
    assert stat.S_IMODE(target.stat().st_mode) == 0o700 if make == "folder" else target.read_text() == "mine"


def test_a_third_machine_waits_until_one_ends(folder: Path) -> None:
    waited: list[str] = []
    with slots.slot(folder=folder), slots.slot(folder=folder):
        with pytest.raises(BootError, match="no machine slot"), slots.slot(lambda: waited.append("told"), folder):
            pass
        assert waited == ["told"]
    with slots.slot(folder=folder):
        pass


def _hold(folder: Path, ready: Signal) -> None:
    with slots.slot(folder=folder):
        ready.set()
        os._exit(1)  # a process that dies without cleaning up


def test_a_slot_is_free_when_its_holder_dies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOTS", 1)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(folder, ready))
    child.start()
    assert ready.wait(30)
    child.join()
    with slots.slot(folder=folder):
        pass
