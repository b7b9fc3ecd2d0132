"""What a release costs to make, sign, put on a disk and verify, beside the tools that others use for the same work; and
on the machine: an install beside a plain write, and what verification adds to a boot.

CPU seconds and the largest resident set are those of the processes that do the work: a busy host disturbs them less
than it does a clock. A peer that is not installed is said to be missing.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from swiftbuild.effects.keys import Terms, make_folder
from swiftbuild.limits import MIB, SECTOR
from swiftbuild.machine.spec import QEMU_IMG, recorder
from swiftbuild.model.release import SectionType
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.session import Person
from swiftbuild.scenarios.updating import Updating
from swiftbuild.stages.root import MKFS
from swiftbuild.wire import release, writelog

from tests.bench.counter import Counter, build
from tests.bench.page import table
from tests.bench.work import PARTS
from tests.fakes import ROOT
from tests.system.conftest import image_of, password, spec
from tests.variants import signed, slot_image

FILES, FILE_BYTES, RUNS = 1400, 48 * 1024, 3
"""Of the tree: 66 MiB, of which half can be compressed."""
VERITYSETUP, OPENSSL, RAUC, GENIMAGE = (
    "/usr/sbin/veritysetup", "/usr/bin/openssl", "/usr/bin/rauc", "/usr/bin/genimage")
RAUC_MANIFEST = "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=verity\n[image.rootfs]\nfilename=base.erofs\n"
GENIMAGE_CONFIG = """\
image esp.vfat { vfat { file EFI/BOOT/BOOTAA64.EFI { image = "loader" } } size = 64M }
image disk.img {
  hdimage { partition-table-type = "gpt" }
  partition esp { image = "esp.vfat" }
  partition base_a { image = "ours.release" size = 128M }
  partition base_b { size = 128M }
  partition pkgs { size = 256M }
  partition data { image = "data" }
}
"""
MEASURE = (
    "import os, sys\n"
    "out = os.open(os.devnull, os.O_WRONLY)\n"
    "child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])\n"
    "_, status, used = os.wait4(child, 0)\n"
    "print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)\n")
"""A small process between: a child counts the memory of whoever started it as its own."""
Cost = tuple[float, int]
"""CPU seconds, KiB."""


def cost(*argv: str | Path, cwd: Path) -> Cost:
    """The cheapest of several runs of a process with its children."""
    found = []
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-I", "-S", "-c", MEASURE, *map(str, argv)], cwd=cwd, text=True,
                              capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
        status, seconds, kib = done.stdout.split()[-3:]
        if status != "0":
            raise RuntimeError(f"{argv} ended with {status}: {done.stderr[-2000:]}")
        found.append((float(seconds), int(kib)))
    return min(found)


def shown(found: Cost | None) -> str:
    """For the table."""
    return f"{found[0]:.2f} s, {found[1] / 1024:.0f} MiB" if found else "not installed"


def prepared(folder: Path) -> None:
    """A tree, the other parts of a release, and keys."""
    chance = random.Random(1)  # noqa: S311 - the same tree every time
    tree = folder / "tree"
    for number in range(FILES):
        place = tree / f"d{number % 40}"
        place.mkdir(parents=True, exist_ok=True)
        half = FILE_BYTES // 2
        (place / f"f{number}").write_bytes(chance.randbytes(half) + b"the same words again\n" * (half // 21))
    known = release.read_slot(slot_image(image_of("qemu")))
    for kind, name in PARTS.items():
        (folder / name).write_bytes(known.section(kind))
    (folder / "data").write_bytes(bytes(64 * MIB))
    make_folder(folder / "keys", name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    words = ["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=bench", "-keyout", "key.pem", "-out",
             "cert.pem"]
    subprocess.run([OPENSSL, *words], cwd=folder, check=True, capture_output=True)
    (folder / "genimage.cfg").write_text(GENIMAGE_CONFIG)


def host(folder: Path) -> list[tuple[str, str, str]]:
    """Work → ours, and others' on the same tree."""
    prepared(folder)
    step = (sys.executable, "-m", "tests.bench.work")
    erofs = cost(MKFS, "--quiet", "--all-root", "-T0", "base.erofs", "tree", cwd=folder)
    tree = cost(VERITYSETUP, "format", "base.erofs", "base.verity", "--root-hash-file", "root", cwd=folder)
    one = cost(OPENSSL, "dgst", "-sha256", "-sign", "key.pem", "-out", "root.sig", "root", cwd=folder)
    root = (folder / "root").read_text()
    checked = cost(VERITYSETUP, "verify", "base.erofs", "base.verity", root, cwd=folder)
    rows = [("tree → signed release", shown(cost(*step, "make", folder, cwd=ROOT)),
             f"mkfs.erofs, veritysetup, openssl: {shown((erofs[0] + tree[0] + one[0], max(erofs[1], tree[1])))}")]
    rows += [("release → disk", shown(cost(*step, "disk", folder, cwd=ROOT)), f"genimage: {shown(_genimage(folder))}"),
             ("verify a release", shown(cost(*step, "verify", folder, cwd=ROOT)),
              f"veritysetup verify: {shown(checked)}")]
    made, read = _rauc(folder)
    return [*rows, ("the same with rauc, verity bundle", "", f"make: {shown(made)}; check and unpack: {shown(read)}")]


def _genimage(folder: Path) -> Cost | None:
    if not Path(GENIMAGE).exists():
        return None
    (folder / "empty").mkdir()
    script = "rm -rf tmp out && exec genimage --config genimage.cfg --inputpath . --outputpath out --rootpath empty " \
             "--tmppath tmp"
    return cost("/bin/sh", "-c", script, cwd=folder)


def _rauc(folder: Path) -> tuple[Cost | None, Cost | None]:
    if not Path(RAUC).exists():
        return None, None
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "base.erofs").hardlink_to(folder / "base.erofs")
    (bundle / "manifest.raucm").write_text(RAUC_MANIFEST)
    make = "rm -f b.raucb && exec rauc bundle --cert cert.pem --key key.pem bundle b.raucb"
    read = "rm -rf unpacked && exec rauc extract --keyring cert.pem b.raucb unpacked"
    return cost("/bin/sh", "-c", make, cwd=folder), cost("/bin/sh", "-c", read, cwd=folder)


def guest(folder: Path) -> list[tuple[str, str, str]]:
    """Work on the machine → instructions, and those of what it is held against."""
    known = slot_image(image_of("qemu"))
    new = signed(variants.rebuilt(known, {SectionType.EROFS: (folder / "ours.erofs").read_bytes()}, version="0.1.1",
                                  rollback_index=2))
    counter, log = Counter(build(folder), folder), folder / "writes.log"
    log.write_bytes(b"")
    wanted = spec("qemu", way="uefi-fdt", cpus=1, extra=counter.options)
    machine = Updating(wanted, image_of("qemu"), folder, password=password("qemu", "root"))
    machine.media = replace(machine.media, filters=(recorder(log),))
    machine.insert(new)
    # room for the plain write: the data volume grows with the disk
    subprocess.run([QEMU_IMG, "resize", "-q", str(machine.media.disk), "2G"], check=True)
    with machine.boot() as person:
        nothing = _counted(person, "true", counter)
        size = len(new) // SECTOR
        plain = _counted(person, f"dd if={machine.path} of=/data/plain bs=256k count={len(new) // 262144} conv=fsync "
                                 "2>/dev/null", counter) - nothing
        person.output("rm /data/plain && sync")
        before = writelog.read(log.read_bytes()).written
        install = _counted(person, f"update install {machine.path} >/dev/null", counter) - nothing
        written = writelog.read(log.read_bytes()).written - before
        first, again = (_counted(person, "cat /usr/bin/* >/dev/null", counter) for _ in range(2))
        verified = re.search(r"verified (\d+)", person.output("cat /proc/verity"))
        events = {event.name: event.time for event in machine.running.console.events}
        machine.cut()
    kib = len(new) / 1024
    spent = (events["loader.slot"] - events["loader.load"]) * 1e9
    return [
        (f"install of {size * SECTOR / MIB:.0f} MiB, read back, verified", f"{install / kib:,.0f} instructions a KiB",
         f"dd to /data with fsync: {plain / kib:,.0f}"),
        ("bytes written by that install", f"{written / len(new):.3f} of the release", ""),
        ("loader: reads and verifies the release that it boots", f"{spent / 1e6:.1f} · 10⁶ instructions", ""),
        ("kernel: blocks of the base verified so far", verified[1] if verified else "–",
         f"reading /usr/bin: {first / 1e6:.1f} · 10⁶ instructions, again {again / 1e6:.1f}"),
    ]


def _counted(person: Person, command: str, counter: Counter) -> int:
    before = counter.read()
    person.output(command, seconds=1800)
    after = counter.read()
    return after.user + after.kernel - before.user - before.kernel


def releases() -> str:
    """The section of the page."""
    with tempfile.TemporaryDirectory(prefix="swift-os-bench-") as name:
        rows = host(Path(name)) + guest(Path(name))
    note = (f"A tree of {FILES} files, {FILES * FILE_BYTES / MIB:.0f} MiB, not compressed; CPU seconds and largest "
            f"process, least of {RUNS} runs. On the machine: QEMU board, 1 CPU, UEFI, instructions under `-icount`.")
    return table("Releases", ("work", "ours", "beside it"), rows, note)
