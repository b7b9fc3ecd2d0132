"""Short, repeatable fuzz runs of every pure crate that reads bytes or keeps state (tests/fuzz).

The toolchain has no sanitizer runtime, and needs none: the crates forbid unsafe code, so what a run can find is a
panic, an overflow, a broken promise, endless work or endless memory. Coverage comes from the compiler's own pass, the
engine is libFuzzer.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from swiftbuild.limits import PAGE
from swiftbuild.wire import release, symbols, verity, writelog

from tests import images

pytestmark = [pytest.mark.fuzz_test, pytest.mark.xdist_group("fuzz")]

REPOSITORY = Path(__file__).parents[2]
VECTORS = REPOSITORY / "tests" / "vectors"
HOST = "x86_64-unknown-linux-gnu"
FOLDER = REPOSITORY / "build" / "fuzz"
PROGRAM = FOLDER / HOST / "fuzz" / "swift-fuzz"
COVERAGE = (
    "-Cpasses=sancov-module", "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters", "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)  # fmt: skip
SEED = 20261123
RUNS = 60_000
"""Of each target: a few seconds. `-max_total_time` by hand goes on for longer."""
RUNS_OF = {"datafs": 4_000}
"""Of those whose runs are long: each checks a volume, opens it and uses it."""
SECONDS = 300.0
INPUT_MAX = 1 << 17
NAMES = re.findall(r'^    \("(\w+)", ', (REPOSITORY / "tests/fuzz/src/main.rs").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def program() -> Path:
    """The fuzzer, built with coverage. cargo sees to it that nothing is built twice."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    flags = {"RUSTFLAGS": " ".join(COVERAGE), "RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1"}
    argv = ["/usr/bin/cargo", "build", "--quiet", "--locked", "-p", "swift-fuzz", "--profile", "fuzz", "--target", HOST]
    environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(FOLDER), **flags}
    done = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return PROGRAM


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bytes]]:
    """Inputs that are right, for the targets that would be long in finding one."""
    folder = tmp_path_factory.mktemp("parts")
    parts = images.parts(folder)
    images.build(parts, "good")
    padded, tree = folder / "padded.dtb", folder / "virt.dtb"
    subprocess.run(["/usr/bin/qemu-system-aarch64", "-M", f"virt,dumpdtb={padded}", "-smp", "2"], check=True,
                   capture_output=True)  # fmt: skip
    subprocess.run(["/usr/bin/dtc", "-q", "-I", "dtb", "-O", "dtb", "-o", str(tree), str(padded)], check=True)
    return {
        "acpi": [acpi_tables()],
        "bootctl": [(VECTORS / "bootctl" / "base.bin").read_bytes() + b"\3"],
        "datafs": tampered_volumes(),
        "elfload": [parts.kernel + b"\1"],
        "erofs": [(folder / "good" / "erofs").read_bytes(),
                  *(compressed(folder, parts.root, *form) for form in (["-C16384"], ["-Elegacy-compress"]))],
        "fdt": [tree.read_bytes()],
        "gpt": [(VECTORS / "gpt" / "base.bin").read_bytes()],
        "image": [(folder / "good" / "slot").read_bytes()],
        "key_set": [key_set()],
        "ksyms": [symbols.encode([(symbols.KERNEL_BASE, "entry"), (symbols.KERNEL_BASE + 0x1000, "main")])],
        "verity": [verity_tree(1), verity_tree(3), verity_tree(130)],
        "release": [(VECTORS / "release" / "base.bin").read_bytes()],
        "writelog": [write_log()],
    }


def key_set() -> bytes:
    """The one of the vectors."""
    area = release.decode_signatures((VECTORS / "trust" / "base.bin").read_bytes()[release.HEADER_SIZE:])
    return area.key_set


def compressed(folder: Path, root: Path, *form: str) -> bytes:
    """An EROFS with compressed files."""
    rows = (struct.pack("<I", row * 2654435761 % 2**32 >> 8) for row in range(15_000))
    (root / "etc" / "rows").write_bytes(b"".join(rows))
    image = folder / "compressed"
    argv = ["/usr/bin/mkfs.erofs", "--quiet", "-T", "0", "--all-root", "-zlz4hc", *form, str(image), str(root)]
    subprocess.run(argv, check=True, capture_output=True)
    return image.read_bytes()


def acpi_tables() -> bytes:
    """MADT, GTDT, FADT, SPCR and MCFG as the target takes them: kind, length, what follows the header."""
    distributor = struct.pack("<BBHIQIB3x", 12, 24, 0, 0, 0x800_0000, 0, 3)
    processor = struct.pack("<BBHIII", 11, 80, 0, 0, 0, 1).ljust(80, b"\0")
    redistributor = struct.pack("<BBHQI", 14, 16, 0, 0x80A_0000, 0xF6_0000)
    bodies = (
        (0, bytes(8) + distributor + processor + redistributor),
        (1, struct.pack("<QIIIIIIII", 2**64 - 1, 0, 29, 0, 30, 0, 27, 0, 26).ljust(68, b"\0")),
        (2, bytes(93) + struct.pack("<H", 3) + bytes(145)),
        (3, struct.pack("<B3xBBBBQBBI", 3, 0, 32, 0, 3, 0x900_0000, 8, 0, 33).ljust(44, b"\0")),
        (4, bytes(8) + struct.pack("<QHBBI", 0x40_1000_0000, 0, 0, 255, 0)),
    )
    return b"".join(struct.pack("<BH", kind, len(body)) + body for kind, body in bodies)


def tampered_volumes() -> list[bytes]:
    """Which base, some changes of bytes whose checksums are made right, an end mark, what is done with the volume."""
    random = Random(SEED)  # noqa: S311 - inputs, no secrets
    inputs = []
    for number in range(48):
        edits = b""
        for _ in range(number % 4):
            where, at, length = random.randrange(1 << 16), random.randrange(256) * 4, random.choice((1, 2, 4, 8))
            edits += struct.pack("<BHHB", random.choice((0, 1, 2)), where, at, length) + random.randbytes(length)
        inputs.append(bytes([number % 3]) + edits + b"\x80".ljust(6, b"\0") + random.randbytes(6 * 20))
    return inputs


def write_log() -> bytes:
    """Every kind of request that is taken, at the borders of blocks too."""
    sizes = ((0, 8), (8, 24), (33, 1), (46, 12), (63, 2), (127, 3))
    writes = (writelog.Request(sector, count, 0, bytes([sector]) * count * 512) for sector, count in sizes)
    others = (writelog.Request(0, 0, writelog.FLUSH, b""), writelog.Request(0, 0, writelog.MARK, b"told"))
    return writelog.encode(writelog.WriteLog(512, (*writes, *others)))


def verity_tree(blocks: int) -> bytes:
    """Count, root, superblock and tree as the target takes them, over its data."""
    data = b"".join(bytes([block & 0xFF]) * PAGE for block in range(blocks))
    tree = verity.build(data, uuid=UUID(int=1), salt=bytes(range(32)))
    return struct.pack("<H", blocks - 1) + tree.root + tree.section


def fuzz(argv: list[str], target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs libFuzzer as a shell's child. What it limits is the largest memory that getrusage tells, and that begins, at
    an exec, with the memory of the process that forked: here a test worker's, which may have gigabytes."""
    forked = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *argv]
    return subprocess.run(forked, env={"FUZZ_TARGET": target}, cwd=folder, capture_output=True, text=True,
                          timeout=SECONDS, check=False)  # fmt: skip


def test_the_memory_that_is_limited_is_the_fuzzers_own(program: Path, tmp_path: Path) -> None:
    held = bytearray(b"\1") * (192 << 20)
    argv = [str(program), "-runs=1000000", "-max_total_time=3", "-rss_limit_mb=160"]
    done = fuzz(argv, "fdt", tmp_path)
    assert not done.returncode, done.stderr[-2000:]
    assert held


def test_the_targets_are_found() -> None:
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_finds_nothing(name: str, program: Path, seeds: dict[str, list[bytes]], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds.get(name, [])):
        assert len(seed) <= INPUT_MAX
        (corpus / f"seed{number}").write_bytes(seed)
    runs, length = RUNS_OF.get(name, RUNS), INPUT_MAX if name in seeds else 4096
    argv = [str(program), f"-runs={runs}", f"-seed={SEED}", f"-max_len={length}", "-timeout=20",
            "-rss_limit_mb=1024", f"-artifact_prefix={FOLDER}/{name}-", str(corpus)]  # fmt: skip
    done = fuzz(argv, name, tmp_path)
    assert not done.returncode, f"FUZZ_TARGET={name} {' '.join(argv)}\n{done.stderr[-4000:]}"
    assert "DONE" in done.stderr


def test_what_only_coverage_leads_to_is_found(program: Path, tmp_path: Path) -> None:
    """The control: a target that panics on five bytes in a row. No run of this length finds them blindly."""
    argv = [str(program), "-runs=2000000", f"-seed={SEED}", "-max_len=8", f"-artifact_prefix={tmp_path}/"]
    done = fuzz(argv, "control", tmp_path)
    assert done.returncode
    assert "the control is found" in done.stderr
    assert [path.read_bytes()[:5] for path in tmp_path.glob("crash-*")] == [b"fuzz!"]
