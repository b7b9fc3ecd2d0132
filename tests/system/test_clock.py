"""The date is what the machine's clock shows, on every way in; unless that lies before the base was made."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from swiftbuild.core.version import file_time
from swiftbuild.machine.spec import Way
from swiftbuild.model.event import Event
from swiftbuild.scenarios.boot import booting
from swiftbuild.scenarios.session import Person

from tests.system.conftest import ROOT, image_of, password, spec, to_prompt

pytestmark = [pytest.mark.system, pytest.mark.session_test]
SHOWN = 1935817689
"""2031-05-06T07:08:09Z"""
NEVER_SET = 10
WAYS = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.xdist_group(f"clock-{way.value}"), id=way.value) for way in Way]
)


def boot(way: Way, clock: int, folder: Path) -> tuple[list[Event], list[int], float]:
    """What the kernel told of its clock; the date, and the times of new files in /tmp and /data; how long it took."""
    shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clock))
    machine = spec("qemu", way=way.value, cpus=1, extra=("-rtc", f"base={shown}"))
    started = time.monotonic()
    with booting(machine, image_of("qemu"), folder=folder) as running:
        to_prompt(running)
        running.console.rewind("login: ")
        person = Person(running.console)
        person.log_in("root", password("qemu", "root"))
        told = person.output("date +%s; for file in /tmp/new /data/new; do : >$file; stat -c %Y $file; done")
        events = [event for event in running.console.events if event.name.startswith("clock.")]
        return events, [int(word) for word in told.split()], time.monotonic() - started


@WAYS
def test_the_date_is_that_of_the_machine(way: Way, tmp_path: Path) -> None:
    events, times, took = boot(way, SHOWN, tmp_path)
    [ready] = events
    assert (ready.name, ready.get("source")) == ("clock.ready", "rtc" if way is Way.DIRECT else "firmware")
    assert SHOWN <= int(ready.get("time")) <= SHOWN + took + 1
    assert len(times) == 3 and all(SHOWN <= at <= SHOWN + took + 1 for at in times), times


@WAYS
def test_a_clock_that_was_never_set_is_not_believed(way: Way, tmp_path: Path) -> None:
    events, times, took = boot(way, NEVER_SET, tmp_path)
    error, ready = events
    made = file_time((ROOT / "VERSION").read_text())
    assert (error.name, error.get("what")) == ("clock.error", "rtc" if way is Way.DIRECT else "firmware")
    assert error.get("why") == "it shows a date before the base was made"
    assert NEVER_SET <= int(error.get("time")) <= NEVER_SET + took + 1
    assert ready.fields == {"source": "base", "time": str(made)}
    assert len(times) == 3 and all(made <= at <= made + took + 1 for at in times), times
