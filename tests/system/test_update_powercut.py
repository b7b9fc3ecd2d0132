"""Every power cut of a machine's life with updates leaves the old release or the new one; some states are booted."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.limits import SECTOR
from swiftbuild.wire.writelog import Request

from tests.system.conftest import image_of
from tests.system.updatelife import (
    MAY,
    NEITHER,
    Recording,
    boots,
    covered,
    cuts,
    last_cut,
    lived,
    outcomes,
    table,
    wrong,
)
from tests.system.updates import Updating

pytestmark = [pytest.mark.system, pytest.mark.update_powercut_test, pytest.mark.xdist_group("update-powercut")]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return lived(tmp_path_factory.mktemp("update-powercut"))


def test_every_state_boots_old_or_new(recording: Recording) -> None:
    found = outcomes(recording)
    print(table(recording, found))
    assert wrong(found) == {}
    assert set(found) == set(MAY) and all(count.total() for count in found.values())
    assert sum(count.total() for count in found.values()) > 1000
    assert set(found["install that goes on"]) == {"0.1.0", "0.1.1"}
    assert set(found["rollback"]) == {"0.1.1", "0.1.2"}


@pytest.mark.parametrize("install", ["install that goes on", "another install"])
def test_without_the_flush_before_the_trial_the_sweep_says_no(recording: Recording, install: str) -> None:
    """The flush that settles the slot did not happen: the block arms a slot that is not whole."""
    requests = recording.requests
    first = dict(recording.steps)[install]
    last = min((number for _, number in recording.steps if number > first), default=len(requests))
    control = [at for at in range(first, last) if _writes(recording, at, "bootctl")]
    settled = max(at for at in range(first, control[-1]) if _flushes(requests[at]))
    kept = [request for at, request in enumerate(requests)
            if not (_flushes(request) and control[0] + 1 < at <= settled)]
    broken = replace(recording, requests=kept, steps=[])
    assert any(boots(broken, state) == NEITHER for _, state in cuts(broken))


@pytest.mark.parametrize("step", ["install that goes on", "mark-good"])
def test_without_the_flush_behind_a_loader_the_sweep_says_no(recording: Recording, step: str) -> None:
    """The second file, or the sector that makes it the first, is not there yet when the block relies on it."""
    requests = recording.requests
    first = dict(recording.steps)[step]
    last = min(number for _, number in recording.steps if number > first)
    written = max(at for at in range(first, last) if _writes(recording, at, "esp"))
    settled = next(at for at in range(written, last) if _flushes(requests[at]))
    broken = replace(recording, requests=[*requests[:settled], *requests[settled + 1 :]], steps=[])
    assert any(boots(broken, state) == NEITHER for _, state in cuts(broken))


def _writes(recording: Recording, at: int, part: str) -> bool:
    request = recording.requests[at]
    return request is not None and recording.ours(request, part)


def _flushes(request: Request | None) -> bool:
    return request is not None and request.is_flush


@pytest.mark.parametrize("at", ["begun", "half"])
def test_a_state_boots_and_the_update_goes_on(recording: Recording, at: str, tmp_path: Path) -> None:
    places = [number for number in range(1, dict(recording.steps)["boot on trial"])
              if _writes(recording, number - 1, "base_b")]
    number = places[1 if at == "begun" else len(places) // 2]
    # the last of the states at that place: requests that no flush had covered have reached the disk, one of them torn
    state = last_cut(recording, number)
    new = covered(recording.releases["0.1.1"])
    assert state["base_b"] != recording.start["base_b"]
    assert state["base_b"][: len(new)] != new
    disk = tmp_path / "disk.img"
    subprocess.run(["/usr/bin/cp", "--sparse=always", str(image_of("qemu")), str(disk)], check=True)
    with disk.open("r+b") as file:
        for name, raw in state.items():
            file.seek(recording.places[name].first * SECTOR)
            file.write(raw)
    machine = Updating("qemu", tmp_path, recording.releases["0.1.1"], image=disk)
    with machine.running_from("a", "0.1.0") as person:
        machine.install(person)
        machine.restarts(person, "reboot")
    with machine.running_from("b", "0.1.1"):
        machine.cut()
