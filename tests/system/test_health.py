"""healthd inside a machine: its verdict on both profiles, what makes it bad or unknown, that it feeds the watchdog."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from swiftbuild.machine.media import prepare
from swiftbuild.machine.qemu import Machine, machine
from swiftbuild.machine.spec import Spec
from swiftbuild.model.event import Event
from swiftbuild.scenarios.session import Person
from swiftbuild.wire.event import Lines

from tests.system.conftest import BOOT_SECONDS, as_root, image_of, spec
from tests.system.datadisk import MACHINES

pytestmark = [pytest.mark.system, pytest.mark.health_test]
SETTLE_SECONDS = 30.0
VERDICT_SECONDS = SETTLE_SECONDS + 60.0
WATCHDOG_SECONDS = 30
QUICK = "settle = 4s\\ndeadline = 12s\\n"
OWN = "/data/etc/health.d"


@contextmanager
def at_prompt(wanted: Spec, folder: Path, *, disk: bool = True) -> Iterator[tuple[Machine, Person]]:
    """root at the prompt of a machine; without its disk where it is a direct boot."""
    media = prepare(wanted, image_of(wanted.profile), folder)
    media = media if disk else replace(media, disk=None)
    print(f"console log: {folder / 'console.log'}")
    with machine(wanted, lambda _: media, folder=folder) as running:
        yield running, as_root(running)


def told(person: Person) -> list[Event]:
    """What the healthd that runs has told: after a login not on the console, but the kernel has it."""
    lines = Lines()
    events = [found for found in lines.feed(person.output("events health") + "\n") if isinstance(found, Event)]
    starts = [index for index, event in enumerate(events) if event.name == "health.start"]
    return events[starts[-1] :]


def wait_for(person: Person, event_name: str, *, seconds: float = VERDICT_SECONDS, **fields: str) -> Event:
    """The last event of that name must come to have these fields."""
    end = time.monotonic() + seconds
    while True:
        found = [event for event in told(person) if event.name == event_name]
        chosen = [event for event in found if event.has({"name": fields["name"]})] if "name" in fields else found
        if chosen and chosen[-1].has(fields):
            return chosen[-1]
        assert time.monotonic() < end, f"no {event_name} {fields}: {[event.line() for event in found]}"
        time.sleep(0.5)


def verdict(person: Person, wanted: str) -> str:
    """The reasons of a verdict that must come."""
    return wait_for(person, "health.verdict", verdict=wanted).fields["reasons"]


def begin_anew(person: Person, before: str = "true") -> None:
    """healthd starts again. It does nothing more when `before` is done."""
    starts = "$(events health.start | wc -l)"
    person.output(f"n={starts}; kill -STOP $(pidof healthd); {before}; kill -KILL $(pidof healthd); "
                  f"while [ {starts} = $n ]; do sleep 1; done")


def quick(person: Person, **checks: str) -> None:
    """Other checks and times in place of the base's, until the machine ends: a healthd that starts again reads them."""
    person.output("mount -t tmpfs tmpfs /etc/health.d && mkdir -p /run/etc")
    person.output(f"printf '{QUICK}' >/run/etc/conf && mount --bind /run/etc/conf /etc/health.conf")
    for name, text in checks.items():
        person.output(f"printf '{text}' >/etc/health.d/{name}.check")


@pytest.mark.parametrize("profile", MACHINES)
def test_a_sound_release_is_good_and_the_verdict_is_kept_for_the_next(profile: str, tmp_path: Path) -> None:
    with at_prompt(MACHINES[profile], tmp_path) as (_, person):
        answer = person.run("health")
        assert answer.status == 2, "nothing has held for long enough yet"
        person.output("until health >/tmp/shown; do [ $? = 2 ] || exit 1; sleep 1; done", seconds=VERDICT_SECONDS)
        shown = person.output("cat /tmp/shown")
        assert "fail" not in shown
        assert shown.endswith("verdict good")
        status = json.loads(person.output("health --json"))
        assert (status["verdict"], status["decided"], status["watchdog"]) == ("good", True, "software")
        results = {check["name"]: check["result"] for check in status["checks"]}
        assert results.pop("boot-time") == "unknown"
        assert set(results.values()) == {"pass"}
        counts = {check["name"]: check["counts"] for check in status["checks"]}
        assert (counts["verity"], counts["data"]) == ("required", "advisory")
        person.output("until [ -s /data/var/health/last ]; do sleep 1; done")
        lines = [json.loads(line) for line in person.output("cat /data/var/health/last").splitlines()]
        assert lines[0]["checks"] == len(lines) - 1 == len(status["checks"])
        assert lines[0]["boot_ms"] == status["boot_ms"] > 0
        # An ordinary user may look, and nobody may write.
        assert person.output("su guest -c health | tail -n 1") == "verdict good"
        assert person.run("su guest -c ': >/dev/watchdog'").status != 0


def test_checks_fail_late_time_out_are_damaged_and_excused(tmp_path: Path) -> None:
    with at_prompt(MACHINES["qemu"], tmp_path) as (_, person):
        fast = "interval = 1s\\nfailures = 2\\n"
        quick(person, flag=f"kind = file\\npath = /run/flag\\n{fast}",
              slow="kind = command\\nexec = /bin/sleep\\nargs = 60\\ntimeout = 1s\\ninterval = 2s\\n"
                   "severity = advisory\\n")
        # The operator's own: one that is damaged, one that nobody can run, one that holds.
        person.output(f"mkdir -p {OWN} && echo nonsense >{OWN}/odd.check && echo 'kind = verity' >{OWN}/flag.check")
        person.output(f"printf 'kind = command\\nexec = /data/none\\n' >{OWN}/gone.check")
        person.output("touch /run/flag")

        begin_anew(person)
        assert verdict(person, "good") == ""
        late = wait_for(person, "health.check", name="slow", result="fail")
        assert late.fields["why"] == "took longer than 1000 ms"
        assert int(person.output("ps | grep -c '[s]leep 60' || true")) <= 1, "what takes too long is ended"
        mistakes = {e.fields["file"]: e.fields["why"] for e in told(person) if e.name == "health.error"}
        assert mistakes == {f"{OWN}/odd.check": "expected 'key = value'",
                            f"{OWN}/flag.check": "a check of the base has this name"}
        wait_for(person, "health.check", name="gone", result="fail")

        # One that held begins to fail, and holds again.
        person.output("rm /run/flag")
        assert verdict(person, "bad") == "flag: no such file or directory"
        assert person.run("health >/dev/null").status == 1
        person.output("touch /run/flag")
        assert verdict(person, "good") == ""

        # One that never holds is bad at the deadline, unless another release failed there already.
        release = told(person)[0].fields["release"]
        line = '{"name":"flag","result":"fail","before":null}'
        for other, wanted in (("another", "good"), (release, "bad")):
            head = f'{{"version":1,"release":"{other}","boot_ms":null,"before_boot_ms":null,"checks":1}}'
            begin_anew(person, "rm -f /run/flag; printf 'kind = verity\\n' >/etc/health.d/base.check; "
                               f"printf '%s\\n' '{head}' '{line}' >/data/var/health/last")
            assert verdict(person, wanted) == ("" if wanted == "good" else "flag: no such file or directory")
            flag = next(line for line in person.run("health").text.splitlines() if " flag " in line)
            counts = "advisory" if other == "another" else "required"
            assert flag.split(maxsplit=4) == ["fail", "flag", "file", counts, "no such file or directory"]

        # A file of the base that declares nothing: nobody can tell.
        begin_anew(person, "touch /run/flag; echo nonsense >/etc/health.d/broken.check")
        assert verdict(person, "unknown") == "broken.check: the file declares no check: expected 'key = value'"
        assert person.run("health >/dev/null").status == 2


def test_without_data_nothing_is_bad(tmp_path: Path) -> None:
    with at_prompt(spec("qemu", way="direct", cpus=2), tmp_path, disk=False) as (running, person):
        assert [event.name for event in running.console.events].count("data.none") == 1
        person.output("until health >/tmp/shown; do [ $? = 2 ] || exit 1; sleep 1; done", seconds=VERDICT_SECONDS)
        data = next(line for line in person.output("cat /tmp/shown").splitlines() if " data " in line)
        assert data.split(maxsplit=4) == ["unknown", "data", "write", "advisory", "/data is not mounted"]


@pytest.mark.parametrize(("profile", "device"), [("qemu", True), ("hetzner", False)], ids=["i6300esb", "software"])
def test_a_healthd_that_stands_still_resets_the_machine(profile: str, device: bool, tmp_path: Path) -> None:
    with at_prompt(replace(MACHINES[profile], watchdog=device), tmp_path) as (running, person):
        assert json.loads(person.run("health --json").text)["watchdog"] == ("i6300esb" if device else "software")
        assert person.run("echo x >/dev/watchdog").status != 0, "one opener"
        person.output("sleep 40", seconds=90)
        assert not running.console.closed, "a machine that is fed stays"
        running.console.send("kill -STOP $(pidof healthd)\n")
        assert running.ended(seconds=WATCHDOG_SECONDS + 60) == "guest-reset"
        error = next(event for event in running.console.events if event.name == "watchdog.error")
        assert (error.fields["what"], error.fields["timeout"]) == ("feed", "30")
        assert running.monitor().watchdog_expired() == device


def test_the_node_is_linux_s(tmp_path: Path) -> None:
    """One opener; only a V before the close stops it; whoever has it open and does not write is late."""
    with at_prompt(MACHINES["qemu"], tmp_path) as (running, person):
        assert "Device or resource busy" in person.run("echo x >/dev/watchdog").text, "healthd has it"
        # From now on it is ours: a healthd that starts again finds no node.
        person.output("mknod /tmp/dog c 10 130 && rm /dev/watchdog && kill -KILL $(pidof healthd)")
        person.output("until printf V >/tmp/dog; do :; done 2>/dev/null")
        person.output(f"sleep {WATCHDOG_SECONDS + 10}", seconds=WATCHDOG_SECONDS + 60)
        assert json.loads(person.run("health --json").text)["watchdog"] == "none"
        person.output("(printf xVx; printf x; sleep 300) >/tmp/dog &")
        assert "Device or resource busy" in person.run("sleep 1; printf x >/tmp/dog").text
        assert running.ended(seconds=WATCHDOG_SECONDS + 60) == "guest-reset"
        assert [e.fields["what"] for e in running.console.events if e.name == "watchdog.error"] == ["feed"]


def test_a_machine_that_is_halted_stands_still(tmp_path: Path) -> None:
    with at_prompt(replace(MACHINES["hetzner"], watchdog=True), tmp_path) as (running, _):
        running.console.send("halt\n")
        running.console.event("system.halt", seconds=BOOT_SECONDS)
        end = time.monotonic() + WATCHDOG_SECONDS + 10
        while time.monotonic() < end:
            running.console.pump(1.0)
        assert not running.console.closed
        assert not running.monitor().watchdog_expired()
