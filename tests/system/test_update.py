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


def test_a_release_that_is_healthy_is_kept_without_anybody(tmp_path: Path) -> None:
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        person.output("update window always")
        # Restarts by itself, for the window says so.
        person.console.send(f"update install {machine.path}\n")
        assert machine.running.ended(seconds=120) == "guest-reset"
    with machine.running_from("b", "0.1.1") as person:
        person.console.event("update.good", seconds=120, slot="b", version="0.1.1")
        status = machine.status(person)
        assert (status["slots"]["b"]["state"], status["window"]) == ("good", "always")
        assert status["slots"]["b"]["unfinished_boots"] == 0
        person.output("update commit", seconds=120)
        both = machine.status(person)
        assert both["slots"]["a"]["release"] == both["slots"]["b"]["release"]
        assert (both["rollback_floor"], both["slots"]["a"]["state"]) == (2, "good")
        machine.insert(following("qemu", version="0.1.2", rollback_index=1))
        person.output(f"blockdev --flushbufs {machine.path}")
        assert "(below-floor)" in person.run(f"update install {machine.path} 2>&1").text
        machine.stop(person, "poweroff", "guest-shutdown")


def test_a_commit_that_is_cut_is_taken_up_again(tmp_path: Path) -> None:
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        person.output(f"update install {machine.path}", seconds=120)
        machine.restarts(person, "reboot")
    with machine.running_from("b", "0.1.1") as person:
        person.output("update mark-good")
        person.console.send("update commit\n")
        person.console.event("update.copy", seconds=120)
        machine.cut()
    with machine.running_from("b", "0.1.1") as person:
        person.console.event("update.installed", seconds=120, version="0.1.1")
        both = machine.status(person)
        assert [both["slots"][slot]["state"] for slot in "ab"] == ["good", "good"]
        assert both["slots"]["a"]["release"] == both["slots"]["b"]["release"]
        machine.restarts(person, "reboot")
    with machine.running_from("b", "0.1.1") as person:
        assert "nothing is going on" in person.run("update cancel 2>&1").text
        machine.cut()


def test_slots_that_are_read_are_told_of_and_given_up(tmp_path: Path) -> None:
    machine = Updating("qemu", tmp_path, following("qemu"))
    with machine.running_from("a", "0.1.0") as person:
        person.output("update verify >/tmp/said 2>&1 & until update status | grep 'verify: reading slot'; do :; done")
        assert "(busy)" in person.run("update retry 2>&1").text
        assert "verify was stopped; nothing was changed" in person.output("update cancel")
        assert "(cancelled)" in person.output("wait; cat /tmp/said")
        assert "slot a: 0.1.0: whole" in person.output("update verify")
        machine.cut()


NODES = ("bootctl", "base_a", "base_b", "esp", "pkgs")


@pytest.mark.parametrize("profile", ["qemu", "hetzner"])
def test_root_writes_nothing_that_updates_are_made_of(profile: str, tmp_path: Path) -> None:
    machine = Updating(profile, tmp_path, following(profile))
    with machine.running_from("a", "0.1.0") as person:
        ready = "update status --json | grep -q '\"good\":true,\"unfinished_boots\":0'"
        person.output(f"until {ready}; do sleep 1; done")  # the service's own write at `boot.ready`
        before = person.output("sha256sum /dev/bootctl | cut -c -64")
        disk = person.output("readlink -f /dev/disk/by-partlabel/bootctl").rstrip("0123456789")
        for path in [f"/dev/disk/by-partlabel/{name}" for name in NODES] + ["/dev/disk/inactive", disk, "/dev/bootctl"]:
            answer = person.run(f"dd if=/dev/zero of={path} bs=4096 count=1 conv=notrunc 2>&1")
            assert answer.status == 1, path
            assert any(why in answer.text for why in ("Operation not permitted", "resource busy")), answer.text
            assert person.run(f"dd if={path} of=/dev/null bs=4096 count=1 2>/dev/null").status == 0, path
        # Nor by another node of the same device, nor by the descriptors of the service.
        numbers = person.output(f"stat -c '0x%t 0x%T' {disk}2")
        person.output(f"mknod /tmp/again b $(printf '%d %d' {numbers})")
        assert person.run("dd if=/dev/zero of=/tmp/again bs=4096 count=1 conv=notrunc 2>&1").status == 1
        service = person.output("pidof update-service")
        for path in person.output(f"ls -d /proc/{service}/fd/*").split():
            if person.run(f"readlink {path} | grep -q -e bootctl -e {disk}").status == 0:
                assert person.run(f"dd if=/dev/zero of={path} bs=4096 count=1 conv=notrunc 2>&1").status == 1, path
        assert person.output("sha256sum /dev/bootctl | cut -c -64") == before
        # A program over the service's own is not what init starts.
        person.output("cp /bin/busybox /tmp/false && mount -o bind /tmp/false /usr/bin/update-service")
        # Nor does a link lead it elsewhere.
        person.output(f"ln -sfn ..{disk.removeprefix('/dev')}1 /dev/disk/inactive")
        person.output(f"kill -9 {service} && sleep 2 && update status >/dev/null")
        assert "update-service" in person.output("cat /proc/$(pidof update-service)/comm")
        assert "nothing is going on" in person.run("update cancel 2>&1").text
        assert "slot a: 0.1.0: whole" in person.output("update verify")
        person.output(f"update install {machine.path}", seconds=120)
        assert machine.status(person)["slots"]["b"]["state"] == "trial"
        person.console.send("exit\n")
        person.log_in("guest", "guest")
        refused = person.run("update retry 2>&1")
        assert (refused.status, "only root gives orders" in refused.text) == (1, True)
        assert "running    slot a" in person.output("update status")
        for words, status in (("", 2), ("instal x", 2), ("window noon", 2), ("--help", 0)):
            assert person.run(f"update {words} >/dev/null 2>&1").status == status, words
        machine.cut()
