"""No function of the kernel takes so much stack that its callers and an interrupt on top find no room."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import pytest

from tests.fakes import ROOT

KERNEL = ROOT / "build" / "parts" / "qemu" / "kernel.elf"
OBJDUMP = "/usr/bin/llvm-objdump-19"
FRAME_MAX = 6 << 10
"""Of the 16 KiB of a kernel stack (`STACK_SIZE` of kernel/kernel/src/mm/stack.rs)."""
CARRIED_MAX = 1 << 10
CARRIED = (
    "arch::trap::user_sync", "arch::trap::leave", "process::before_user_return", "boot::main", "events::emit",
    "events::publish", "process::exec::load_for", "process::exec::map_program", "process::exec::plan_of",
)
"""What stands below everything that a system call, a signal, or the boot CPU while it idles does; what any function may
call; and what reads files with a program half loaded."""
LABEL = re.compile(r"^[0-9a-f]+ <(.*)>:$")
FRAME = re.compile(r"\tsub\tsp, sp, #(0x[0-9a-f]+)(, lsl #12)?")


def frames(listing: str) -> Counter[str]:
    """Bytes that each function takes of the stack, from a disassembly."""
    found: Counter[str] = Counter()
    function = ""
    for line in listing.splitlines():
        if label := LABEL.match(line):
            function = label[1]
        elif frame := FRAME.search(line):
            found[function] += int(frame[1], 16) << (12 if frame[2] else 0)
    return found


def test_the_reader_adds_up_a_frame() -> None:
    listing = "0 <one>:\n 4:\tsub\tsp, sp, #0x2, lsl #12\n 8:\tsub\tsp, sp, #0x10\n0 <two>:\n 4:\tadd\tsp, sp, #0x20\n"
    assert frames(listing) == {"one": (2 << 12) + 16}


@pytest.fixture(scope="module")
def found() -> Counter[str]:
    """The kernel's frames, by the file that still has its functions' names."""
    done = subprocess.run([OBJDUMP, "-d", "--demangle", str(KERNEL)], capture_output=True, text=True, check=True)
    listed = frames(done.stdout)
    assert len(listed) > 500, "the listing is not the kernel's"
    return listed


def test_frames_leave_room_on_the_stack(found: Counter[str]) -> None:
    large = {name: size for name, size in found.items() if size > FRAME_MAX}
    assert not large, large


def test_what_is_carried_under_much_is_small(found: Counter[str]) -> None:
    carried = {name: found[f"swift_kernel::{name}"] for name in CARRIED}
    assert found["swift_kernel::arch::trap::user_sync"] > 0, "they are called otherwise now"
    large = {name: size for name, size in carried.items() if size > CARRIED_MAX}
    assert not large, large
