"""What building costs, how large the parts are, and boots: times, instructions, memory.

Boots are counted in instructions that the guest executes. Wall
seconds and build times are this host's at that moment; its load stands beside them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from swiftbuild.effects.project import load_profile
from swiftbuild.machine.spec import Spec, Way, spec
from swiftbuild.scenarios.boot import Report, booting, wait_ready
from swiftbuild.scenarios.session import Person

from tests.bench.counter import Counter, build
from tests.bench.page import table
from tests.fakes import ROOT

SECONDS = 600.0
WARM_RUNS = 5
CPUS = (1, 4)
KERNEL_SOURCE = "kernel/kernel/src/main.rs"
# Debian 12's Linux 6.1 to a BusyBox shell's READY, median of 5, QEMU 7.2.22, same boards, -icount shift=0,sleep=off for
# the instructions (from the kernel clock's start), `quiet`, base in an initramfs; memory is RAM - MemFree of 1 GiB.
LINUX_INSTRUCTIONS = {("qemu", 1): 935e6, ("qemu", 4): 941e6, ("hetzner", 2): 1213e6}
LINUX_MEMORY_KIB = {1: 72148, 4: 82268}
LINUX_IMAGE_BYTES = 27303872


def timed(*words: str, cwd: Path) -> float:
    """Wall seconds of one swiftbuild command of the repository at `cwd`."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "swiftbuild", "-q", *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONPATH": str(cwd / "pipeline")})
    return time.monotonic() - begin


def builds() -> str:
    """Cold, warm, and one changed line, in a copy of the tree."""
    image = ("image", "-p", "qemu")
    with tempfile.TemporaryDirectory(prefix="swift-os-bench-") as name:
        copy = Path(name) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("build", ".git", ".venv", "target", ".*_cache"))
        cold = timed(*image, cwd=copy)
        warm = min(timed(*image, cwd=copy) for _ in range(WARM_RUNS))
        source = copy / KERNEL_SOURCE
        source.write_text(source.read_text() + "\n#[used]\nstatic BENCH: u32 = 1;\n")
        line = timed(*image, cwd=copy)
    rows = [("cold: nothing built, crates and packages fetched", f"{cold:.0f}"), ("warm: nothing to do", f"{warm:.2f}"),
            ("one changed line of the kernel", f"{line:.1f}")]
    return table("Builds", ("`swiftbuild image --profile qemu`", "wall s"), rows)


def parts() -> dict[str, dict[str, int]]:
    """The parts of the QEMU image and their sizes."""
    done = subprocess.run([sys.executable, "-m", "swiftbuild", "-q", "image", "-p", "qemu", "--json"], cwd=ROOT,
                          check=True, stdout=subprocess.PIPE, text=True)
    loaded: dict[str, dict[str, int]] = json.loads(done.stdout)["parts"]
    return loaded


def sizes() -> str:
    """Kernel and image."""
    rows = [(name, f"{part['size']:,}") for name, part in parts().items()]
    return table("Sizes", ("part", "bytes"), rows, f"Linux's kernel Image has {LINUX_IMAGE_BYTES:,} bytes.")


def machine(profile: str, way: Way, cpus: int) -> Spec:
    """A profile's board, reached in one way."""
    return spec(profile, load_profile(ROOT, profile).board, way=way.value, cpus=cpus)


def image(wanted: Spec) -> Path:
    """What it boots."""
    return ROOT / "build" / "images" / f"{wanted.profile}.img"


def boot(wanted: Spec) -> Report:
    """One boot to health."""
    with booting(wanted, image(wanted)) as running:
        return wait_ready(running, seconds=SECONDS)


def executed(wanted: Spec, counter: Counter) -> int:
    """Instructions from kernel entry to health. No program runs yet for long after the kernel has told of its entry, so
    what firmware and loader executed is known exactly."""
    with booting(replace(wanted, extra=counter.options), image(wanted)) as running:
        running.console.event("kernel.entry", seconds=SECONDS)
        before = counter.read()
        wait_ready(running, seconds=SECONDS)
        after = counter.read()
    return after.user - before.user + after.kernel


BOOTS = [*(machine("qemu", way, cpus) for way in (Way.DIRECT, Way.UEFI_FDT) for cpus in CPUS),
         *(machine("hetzner", Way.UEFI_ACPI, cpus) for cpus in (1, 2, 4))]  # fmt: skip


def boots() -> str:
    """All three ways in, on one processor and on more."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="swift-os-bench-") as name:
        plugin = build(Path(name))
        for wanted in BOOTS:
            plain, counted = boot(wanted), executed(wanted, Counter(plugin, Path(name)))
            peer = LINUX_INSTRUCTIONS.get((wanted.profile, wanted.cpus))
            rows.append((wanted.profile, wanted.way.value, str(wanted.cpus), f"{plain.phases[-1].wall:.2f}",
                         f"{counted / 1e6:.2f}", f"{peer / 1e6:.0f} ({peer / counted:.0f} ×)" if peer else "–"))
    head = ("profile", "way in", "CPUs", "wall s from power-on", "10⁶ instructions from kernel entry", "Linux 6.1")
    note = ("To `boot.ready`: the login prompt is served. Firmware takes most of the wall time of the UEFI ways. "
            "Instructions are those executed, on all CPUs, without idle; what Linux idled while it booted is in its "
            "figures.")
    return table("Boots", head, rows, note)


def memory() -> str:
    """In use at the prompt: RAM minus free pages, with the base in RAM, of 1 GiB."""
    rows = []
    for cpus in CPUS:
        wanted = machine("qemu", Way.DIRECT, cpus)
        login = load_profile(ROOT, "qemu").login.root
        with booting(wanted, ROOT / "build" / "images" / "qemu.img") as running:
            wait_ready(running, seconds=SECONDS)
            person = Person(running.console)
            person.log_in("root", login.password if login else "")
            free = re.search(r"MemFree:\s+(\d+) kB", person.output("cat /proc/meminfo"))
        used = wanted.memory_mib * 1024 - int(free[1]) if free else 0
        peer = LINUX_MEMORY_KIB[cpus]
        rows.append((str(cpus), f"{used:,}", f"{peer:,} ({peer / used:.0f} ×)" if used else "–"))
    return table("Memory", ("CPUs", "KiB", "Linux 6.1"), rows,
                 "In use at the prompt: RAM less free pages, the base in RAM included, of 1 GiB.")
