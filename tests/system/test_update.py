"""Updates on the device: a release is installed, tried, kept or given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.updates import Updating, following

pytestmark = [pytest.mark.system, pytest.mark.release_test]


@pytest.mark.parametrize("profile", ["qemu", "hetzner"])
def test_a_good_update_is_kept_and_rolled_back_by_hand(profile: str, tmp_path: Path) -> None:
    machine = Updating(profile, tmp_path, following(profile))
    with machine.running_from("a", "0.1.0") as person:
        before = machine.status(person)
        assert [before["slots"][slot]["state"] for slot in "ab"] == ["good", "empty"]
        person.output("echo kept >/data/file")
        said = person.output(f"update install {machine.path}", seconds=120)
        assert "0.1.1 is installed and will be tried at the next boot" in said
        after = machine.status(person)
        assert (after["next"], after["slots"]["b"]["state"], after["slots"]["b"]["tries"]) == ("b", "trial", 3)
        machine.restarts(person, "reboot")
    with machine.running_from("b", "0.1.1") as person:
        trial = machine.status(person)
        assert (trial["running"], trial["slots"]["b"]["tries"], trial["rollback_floor"]) == ("b", 2, 1)
        assert person.output("cat /data/file") == "kept"
        refused = person.run(f"update install {machine.path} 2>&1")
        assert (refused.status, "(on-trial)" in refused.text) == (1, True), refused.text
        assert "0.1.1 in slot b is good; the floor is 1" in person.output("update mark-good")
        assert machine.status(person)["slots"]["b"]["state"] == "good"
        assert "whole" in person.output("update verify")
        machine.restarts(person, "update rollback it is only a test")
    with machine.running_from("a", "0.1.0") as person:
        back = machine.status(person)
        assert (back["slots"]["b"]["state"], back["slots"]["b"]["reason"]) == ("unbootable", "operator")
        assert back["slots"]["b"]["why"] == "it is only a test"
        assert person.output("cat /data/file") == "kept"
        refused = person.run(f"update install {machine.path} 2>&1")
        assert (refused.status, "(failed-here)" in refused.text) == (1, True), refused.text
        person.output("update retry")
        person.output(f"update install {machine.path}", seconds=120)
        machine.stop(person, "poweroff", "guest-shutdown")
