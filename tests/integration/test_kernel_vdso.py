"""The clocks of the vDSO as a program: the kernel's own code behind a page of data, against the counter that it reads
and, for clocks that it does not know, against the system call."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes import ROOT
from tests.guests import QEMU

SOURCE = ROOT / "kernel" / "kernel" / "src" / "arch" / "vdso.s"
PROGRAM = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

extern const char vdso_clock_gettime[], vdso_gettimeofday[], vdso_clock_getres[], vdso_end[];
enum { PAGE = 4096 };
static const uint64_t BILLION = 1000000000;
static uint64_t *offset;

static void must(int right, const char *what, long clock)
{
    if (right) return;
    printf("%s of clock %ld\n", what, clock);
    exit(1);
}

/* Nanoseconds since power-on, from the counter. */
static uint64_t counter(void)
{
    uint64_t count, frequency;
    __asm__ volatile("isb; mrs %0, cntvct_el0; mrs %1, cntfrq_el0" : "=r"(count), "=r"(frequency));
    return count / frequency * BILLION + (uint64_t)((unsigned __int128)(count % frequency) * BILLION / frequency);
}

int main(void)
{
    char *pages = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return 2;
    memcpy(pages + PAGE, vdso_clock_gettime, vdso_end - vdso_clock_gettime);
    offset = (uint64_t *)pages;
    if (mprotect(pages + PAGE, PAGE, PROT_READ | PROT_EXEC)) return 2;
    __builtin___clear_cache(pages + PAGE, pages + 2 * PAGE);
    long (*gettime)(long, struct timespec *) = (void *)(pages + PAGE);
    long (*timeofday)(struct timeval *, void *) = (void *)(pages + PAGE + (vdso_gettimeofday - vdso_clock_gettime));
    long (*getres)(long, struct timespec *) = (void *)(pages + PAGE + (vdso_clock_getres - vdso_clock_gettime));
    static const uint64_t offsets[] = { 0, 1, 999999999, 1700000000123456789, 4102444800000000000 };
    for (int round = 0; round < 1000; round++) {
        *offset = offsets[round % 5];
        for (long clock = 0; clock < 8; clock++) {
            if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID) continue;
            int is_date = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
            struct timespec now = { -1, -1 };
            uint64_t before = counter() + (is_date ? *offset : 0);
            must(gettime(clock, &now) == 0, "result", clock);
            uint64_t after = counter() + (is_date ? *offset : 0);
            uint64_t found = now.tv_sec * BILLION + now.tv_nsec;
            must(now.tv_sec >= 0 && (uint64_t)now.tv_nsec < BILLION, "range", clock);
            must(before <= found && found <= after, "time", clock);
            must(getres(clock, &now) == 0 && now.tv_sec == 0 && now.tv_nsec == 1, "resolution", clock);
            must(getres(clock, 0) == 0, "resolution to nowhere", clock);
        }
        struct timeval day = { -1, -1 };
        int zone[3] = { 7, 7, 7 };
        uint64_t before = (counter() + *offset) / 1000;
        must(timeofday(&day, zone) == 0, "result", -1);
        uint64_t after = (counter() + *offset) / 1000, found = day.tv_sec * (BILLION / 1000) + day.tv_usec;
        must((uint64_t)day.tv_usec < BILLION / 1000 && before <= found && found <= after, "time of day", -1);
        must(zone[0] == 0 && zone[1] == 0 && zone[2] == 7, "zone", -1);
        must(timeofday(0, 0) == 0, "time of day to nowhere", -1);
    }
    static const long others[] = { CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, 99, 64, 32, -1 };
    for (int at = 0; at < 6; at++) {
        struct timespec found, wanted;
        long result = syscall(SYS_clock_gettime, others[at], &wanted);
        must((gettime(others[at], &found) == 0) == (result == 0), "system call", others[at]);
        must(result || found.tv_sec >= wanted.tv_sec, "its time", others[at]);
        result = syscall(SYS_clock_getres, others[at], &wanted);
        must((getres(others[at], &found) == 0) == (result == 0), "system call for the resolution", others[at]);
        must(result || memcmp(&found, &wanted, sizeof found) == 0, "its resolution", others[at]);
    }
    printf("all right\n");
    return 0;
}
"""


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """The program with this assembly."""
    (folder / "vdso.s").write_text(source)
    (folder / "program.c").write_text(PROGRAM)
    for command in (
        ["/usr/bin/aarch64-linux-gnu-as", "-o", "vdso.o", "vdso.s"],
        ["/usr/bin/aarch64-linux-gnu-gcc", "-O1", "-static", "-o", "program", "program.c", "vdso.o"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return subprocess.run([QEMU, str(folder / "program")], capture_output=True, text=True, check=False, timeout=600)


def test_the_clocks_of_the_vdso(tmp_path: Path) -> None:
    done = run(tmp_path, SOURCE.read_text())
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mul     x8, x8, x6", "nop"),
        ("mov     w3, #0x21", "mov     w3, #0x01"),  # a clock less
        ("sub     x9, x9, #1, lsl #12", "nop"),  # its own page in place of the data's
        ("madd    x8, x7, x6, x8", "nop"),
        ("mov     x9, #1000", "mov     x9, #100"),
        ("str     xzr, [x1]", "str     wzr, [x1]"),  # half the zone
        ("mov     x8, #114", "mov     x8, #113"),
    ],
)
def test_a_planted_mistake_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    text = SOURCE.read_text()
    assert right in text
    assert run(tmp_path, text.replace(right, wrong)).returncode != 0
