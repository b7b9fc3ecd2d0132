"""Releases that work: tried, kept, rolled back by hand, and one behind the other."""

from __future__ import annotations

from swiftbuild.errors import ProofError
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.disk import BOOT_SECONDS
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.updating import INSTALL_SECONDS

NODES = ("bootctl", "base_a", "base_b", "esp", "pkgs")
CHUNK_KIB = 512
"""An install may have to write the last piece again."""
SLOW = 512 * 1024
"""Bytes per second of a medium: slow enough to be interrupted."""


def boots(bench: Bench) -> None:
    """Health, every processor, and the shell of a person who logs in."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        require("processors", person.output("nproc"), str(bench.spec.cpus))
        for cpu in range(bench.spec.cpus):
            person.console.event("cpu.ticking", cpu=str(cpu), seconds=BOOT_SECONDS)
        require_in("update verify", "whole", person.output("update verify", seconds=INSTALL_SECONDS))
        machine.stop(person, "poweroff", "guest-shutdown")


def update_and_rollback(bench: Bench) -> None:
    """Installed, tried, good; then rolled back by hand, refused, and installed again after `update retry`."""
    machine = bench.machine()
    old, new = bench.before.version, bench.after.version
    with machine.running_from("a", old) as person:
        before = machine.status(person)
        require("slots at first", [before["slots"][slot]["state"] for slot in "ab"], ["good", "empty"])
        person.output("echo kept >/data/file")
        require_in("what install says", f"{new} is installed and will be tried at the next boot",
                   machine.install(person))
        after = machine.status(person)
        b = after["slots"]["b"]
        require("after the install", (after["next"], b["state"], b["tries"]), ("b", "trial", 3))
        machine.restarts(person, "reboot")
    with machine.running_from("b", new) as person:
        trial = machine.status(person)
        require("on trial", (trial["running"], trial["slots"]["b"]["tries"]), ("b", 2))
        require("floor on trial", trial["rollback_floor"], before["rollback_floor"])
        require("/data/file", person.output("cat /data/file"), "kept")
        machine.refused(person, "on-trial")
        require_in("what mark-good says", f"{new} in slot b is good",
                   person.output("update mark-good", seconds=INSTALL_SECONDS))
        require("slot b", machine.slot(person, "b")["state"], "good")
        require_in("update verify", "whole", person.output("update verify", seconds=INSTALL_SECONDS))
        machine.restarts(person, "update rollback it is only a test")
    with machine.running_from("a", old) as person:
        b = machine.slot(person, "b")
        require("slot b, rolled back", (b["state"], b["reason"], b["why"]),
                ("unbootable", "operator", "it is only a test"))
        require("/data/file", person.output("cat /data/file"), "kept")
        machine.refused(person, "failed-here")
        person.output("update retry")
        machine.install(person)
        machine.stop(person, "poweroff", "guest-shutdown")


def unattended(bench: Bench) -> None:
    """With nobody there: restarted in the window, healthy, good; then committed, and the floor rises."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        person.output("update window always")
        person.console.send(f"update install {machine.path}\n")  # restarts by itself, for the window says so
        require("how the machine ended", machine.running.ended(seconds=INSTALL_SECONDS), "guest-reset")
    with machine.running_from("b", bench.after.version) as person:
        person.console.event("update.good", seconds=BOOT_SECONDS, slot="b", version=bench.after.version)
        status = machine.status(person)
        b = status["slots"]["b"]
        require("after the verdict", (b["state"], status["window"], b["unfinished_boots"]), ("good", "always", 0))
        person.output("update commit", seconds=INSTALL_SECONDS)
        both = machine.status(person)
        require("both slots after the commit", both["slots"]["a"]["release"], both["slots"]["b"]["release"])
        require("floor after the commit", (both["rollback_floor"], both["slots"]["a"]["state"]),
                (bench.after.rollback_index, "good"))
        machine.stop(person, "poweroff", "guest-shutdown")


def three_in_a_row(bench: Bench) -> None:
    """Slot B, slot A, slot B: each release kept before the next one comes."""
    base = bench.after
    machine = bench.machine()
    slot, version = "a", bench.before.version
    for step in range(3):
        major, minor, patch = (int(part) for part in base.version.split("."))
        following = f"{major}.{minor}.{patch + step}"
        contents = bench.next(version=following, rollback_index=base.rollback_index + step)
        with machine.running_from(slot, version) as person:
            machine.swap(person, contents)
            machine.install(person)
            machine.restarts(person, "reboot")
        slot, version = "ba"[step % 2], following
        with machine.running_from(slot, version) as person:
            person.output("update mark-good", seconds=INSTALL_SECONDS)
            machine.stop(person, "poweroff", "guest-shutdown")


def cancelled_and_resumed(bench: Bench) -> None:
    """An install is cancelled half-way: the old release is the one that boots. Done again, it copies only the rest."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        machine.slow(SLOW)
        person.output(f"(update install {machine.path} >/run/said 2>&1; echo $? >/run/ended) &")
        copied, total = machine.copied(person)
        person.output("update cancel")
        machine.slow(0)
        person.output("until [ -s /run/ended ]; do sleep 1; done")
        require("status of the cancelled install", person.output("cat /run/ended"), "1")
        require_in("what it says", "cancelled", person.output("cat /run/said"))
        left = machine.status(person)
        require("after the cancel", (left["next"], left["activity"]), ("a", None))
        machine.install(person)
        (done,) = machine.told(person, "update.installed")
        most = (total - copied + CHUNK_KIB) * 1024
        if int(done["written"]) > most:
            raise ProofError(f"{done['written']} bytes written behind {copied} KiB of {total}, expected {most} at most")
        machine.restarts(person, "reboot")
    with machine.running_from("b", bench.after.version):
        machine.cut()


def cut_and_resumed(bench: Bench) -> None:
    """The power fails half-way through an install: the old release boots, and the next install ends."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        machine.slow(SLOW)
        person.output(f"update install {machine.path} >/run/said 2>&1 &")
        machine.copied(person)
        machine.cut()
    with machine.running_from("a", bench.before.version) as person:
        require("slot that boots next", machine.status(person)["next"], "a")
        machine.install(person)
        machine.restarts(person, "reboot")
    with machine.running_from("b", bench.after.version):
        machine.cut()


def commit_cut(bench: Bench) -> None:
    """The power fails while a commit copies the release to the other slot: the next boot takes the copy up again."""
    machine = bench.on_trial()
    with machine.running_from("b", bench.after.version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        person.console.send("update commit\n")
        person.console.event("update.copy", seconds=INSTALL_SECONDS)
        machine.cut()
    with machine.running_from("b", bench.after.version) as person:
        person.console.event("update.installed", seconds=INSTALL_SECONDS, version=bench.after.version)
        both = machine.status(person)["slots"]
        require("slots", [both[slot]["state"] for slot in "ab"], ["good", "good"])
        require("release of slot a", both["a"]["release"], both["b"]["release"])
        machine.cut()


def root_writes_nothing(bench: Bench) -> None:
    """root tries every way to what updates are made of; nothing is written, and the service is still init's own."""
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        machine.counted(person)
        before = person.output("sha256sum /dev/bootctl | cut -c -64")
        disk = person.output("readlink -f /dev/disk/by-partlabel/bootctl").rstrip("0123456789")

        def denied(path: str, *, why: bool = False) -> None:
            answer = person.run(f"dd if=/dev/zero of={path} bs=4096 count=1 conv=notrunc 2>&1")
            require(f"status of a write to {path}", answer.status, 1)
            if why and not any(words in answer.text for words in ("Operation not permitted", "resource busy")):
                raise ProofError(f"a write to {path} failed otherwise than by a rule: {answer.text}")

        for path in [f"/dev/disk/by-partlabel/{name}" for name in NODES] + [
                "/dev/disk/inactive", disk, "/dev/bootctl", "/dev/loader"]:
            denied(path, why=True)
            person.output(f"dd if={path} of=/dev/null bs=4096 count=1 2>/dev/null")
        # Nor by another node of the same device, nor by the descriptors of the service.
        numbers = person.output(f"stat -c '0x%t 0x%T' {disk}2")
        person.output(f"mknod /run/again b $(printf '%d %d' {numbers})")
        denied("/run/again")
        service = person.output("pidof update-service")
        held = 0
        for path in person.output(f"ls -d /proc/{service}/fd/*").split():
            if person.run(f"readlink {path} | grep -q -e bootctl -e loader -e {disk}").status == 0:
                held += 1
                denied(path)
        require("descriptors of block, slot and loader that the service holds", held, 3)
        require("digest of the boot-control block", person.output("sha256sum /dev/bootctl | cut -c -64"), before)
        # A program over the service's own is not what init starts, and a link does not lead it elsewhere.
        person.output("cp /bin/busybox /tmp/false && mount -o bind /tmp/false /usr/bin/update-service")
        person.output(f"ln -sfn ..{disk.removeprefix('/dev')}1 /dev/disk/inactive")
        person.output(f"kill -9 {service} && sleep 2 && update status >/dev/null")
        require_in("name of the service", "update-service", person.output("cat /proc/$(pidof update-service)/comm"))
        require_in("update verify", f"slot a: {bench.before.version}: whole",
                   person.output("update verify", seconds=INSTALL_SECONDS))
        machine.install(person)
        require("slot b", machine.slot(person, "b")["state"], "trial")
        machine.cut()
