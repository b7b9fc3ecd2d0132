"""Our own memcpy, memmove, memset, memcmp and bcmp as a program: against the plainest loops, at every small
length and alignment, between pages that may not be touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.guests import QEMU

SOURCE = ROOT / "kernel" / "memops" / "src" / "memory.s"
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *kernel_memcpy(void *, const void *, size_t);
void *kernel_memmove(void *, const void *, size_t);
void *kernel_memset(void *, int, size_t);
int kernel_memcmp(const void *, const void *, size_t);
int kernel_bcmp(const void *, const void *, size_t);

enum { ROOM = 16384, PAGE = 4096 };
static unsigned char *one, *other, want[ROOM];
static unsigned long long checks;

static void must(int right, const char *what, size_t n, size_t at, size_t from)
{
    checks++;
    if (right) return;
    printf("%s: length %zu to %zu from %zu\n", what, n, at, from);
    exit(1);
}

/* Room with a page before and behind it that faults. */
static unsigned char *guarded(void)
{
    unsigned char *all = mmap(0, ROOM + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + PAGE, ROOM, PROT_READ | PROT_WRITE)) exit(2);
    return all + PAGE;
}

static void mix(unsigned seed)
{
    for (size_t i = 0; i < ROOM; i++) {
        seed = seed * 1103515245 + 12345;
        one[i] = seed >> 16;
        other[i] = seed >> 20;
    }
}

static int sign(int n) { return (n > 0) - (n < 0); }

static void at(size_t n, size_t to, size_t from)
{
    mix(n * 31 + to * 7 + from);
    for (size_t i = 0; i < ROOM; i++) want[i] = one[i];
    for (size_t i = 0; i < n; i++) want[to + i] = other[from + i];
    must(kernel_memcpy(one + to, other + from, n) == one + to, "memcpy gives its destination", n, to, from);
    for (size_t i = 0; i < ROOM; i++) if (one[i] != want[i]) must(0, "memcpy", n, to, from);
    must(kernel_memcmp(one + to, other + from, n) == 0, "memcmp of a copy", n, to, from);
    if (n) {
        size_t where = (to * 5 + from) % n;
        one[to + where] ^= 0x80;
        int expected = one[to + where] > other[from + where] ? 1 : -1;
        must(sign(kernel_memcmp(one + to, other + from, n)) == expected, "memcmp", n, to, from);
        must(kernel_bcmp(one + to, other + from, n) != 0, "bcmp", n, to, from);
        if (where + 1 < n) one[to + n - 1] = ~other[from + n - 1];
        must(sign(kernel_memcmp(one + to, other + from, n)) == expected, "memcmp decides by the first", n, to, from);
    }
    for (size_t i = 0; i < ROOM; i++) want[i] = one[i];
    for (size_t i = 0; i < n; i++) want[to + i] = 0xa5;
    must(kernel_memset(one + to, 0x7a5, n) == one + to, "memset gives its destination", n, to, from);
    for (size_t i = 0; i < ROOM; i++) if (one[i] != want[i]) must(0, "memset", n, to, from);
}

static void moved(size_t n, size_t to, size_t from)
{
    mix(n + to + from);
    for (size_t i = 0; i < ROOM; i++) want[i] = one[i];
    for (size_t i = 0; i < n; i++) want[to + i] = one[from + i];
    must(kernel_memmove(one + to, one + from, n) == one + to, "memmove gives its destination", n, to, from);
    for (size_t i = 0; i < ROOM; i++) if (one[i] != want[i]) must(0, "memmove", n, to, from);
}

int main(void)
{
    one = guarded();
    other = guarded();
    for (size_t n = 0; n <= 200; n++) {
        for (size_t k = 0; k < 9; k++) at(n, k, (k * 5 + n) % 8);
        at(n, ROOM - n, ROOM - n);   /* up to the guard behind */
        at(n, 0, 0);                 /* from the guard before on */
        for (size_t k = 0; k < 5; k++) {
            static const size_t distances[] = { 0, 1, 8, 63, 64 };
            moved(n, 100 + distances[k], 100);
            moved(n, 100, 100 + distances[k]);
        }
    }
    for (size_t n = 1000; n < 9000; n += 977) {
        at(n, n % 17, n % 13);
        at(n, ROOM - n, ROOM - n);
        for (size_t k = 1; k < n; k = k * 3 + 1) moved(n, k, 0), moved(n, 0, k), moved(n, ROOM - n, ROOM - n - k);
    }
    printf("all %llu right\n", checks);
    return 0;
}
"""


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """The program with this assembly."""
    (folder / "memory.s").write_text(source)
    (folder / "program.c").write_text(PROGRAM)
    for command in (
        ["/usr/bin/aarch64-linux-gnu-as", "-o", "memory.o", "memory.s"],
        ["/usr/bin/aarch64-linux-gnu-objcopy", "--prefix-symbols=kernel_", "memory.o"],
        ["/usr/bin/aarch64-linux-gnu-gcc", "-O1", "-static", "-o", "program", "program.c", "memory.o"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return subprocess.run([QEMU, str(folder / "program")], capture_output=True, text=True, check=False, timeout=600)


def test_memory_functions(tmp_path: Path) -> None:
    done = run(tmp_path, SOURCE.read_text())
    assert (done.returncode, done.stdout[:4]) == (0, "all "), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mov     x3, x0\n    sub     x2, x2, #64\n", "mov     x3, x0\n"),  # one piece too many
        ("lsr     x8, x2, #1", "mov     x8, #0"),  # three bytes without their middle
        ("b.lo    2f\n    add     x4, x1, x2", "b.hi    2f\n    add     x4, x1, x2"),  # memmove goes the wrong way
        ("rev     x3, x3", "nop"),  # compared as little-endian numbers
        ("and     x1, x1, #0xff", "nop"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    text = SOURCE.read_text()
    assert right in text
    assert run(tmp_path, text.replace(right, wrong)).returncode != 0
