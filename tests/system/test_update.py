"""Orders of `update` that go on for a while: they can be asked about, refuse others, and are given up when told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.updates import Updating, following

pytestmark = [pytest.mark.system, pytest.mark.release_test]


def test_slots_that_are_read_are_told_of_and_given_up(tmp_path: Path) -> None:
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        # at one go: it takes some hundredths of a second
        person.output("update verify >/tmp/said 2>&1 & until update status | grep 'verify: reading slot'; do :; done; "
                      "update retry >/tmp/refused 2>&1; update cancel >/tmp/stopped 2>&1")
        assert "(busy)" in person.output("cat /tmp/refused")
        assert "verify was stopped; nothing was changed" in person.output("cat /tmp/stopped")
        assert "(cancelled)" in person.output("wait; cat /tmp/said")
        assert "slot a: 0.1.0: whole" in person.output("update verify")
        for words, status in (("", 2), ("instal x", 2), ("window noon", 2), ("--help", 0)):
            assert person.run(f"update {words} >/dev/null 2>&1").status == status, words
        person.console.send("exit\n")
        person.log_in("guest", "guest")
        refused = person.run("update retry 2>&1")
        assert (refused.status, "only root gives orders" in refused.text) == (1, True)
        assert "running    slot a" in person.output("update status")
        machine.cut()
