"""Kernel ELF → checked ELF; of it what a slot image holds, flat Image and symbols section."""

from __future__ import annotations

from pathlib import Path

from swiftbuild.effects.process import Runner
from swiftbuild.errors import DamageError
from swiftbuild.wire import elf, symbols

NM = "/usr/bin/llvm-nm-19"


def derive_forms(kernel: Path, runner: Runner, loadable: Path, image: Path, section: Path) -> None:
    """Checks the ELF (machine, entry, no segment writable and executable) and makes its three other forms."""
    checked = elf.check_kernel(kernel.read_bytes(), "kernel ELF")
    loadable.write_bytes(elf.loadable(checked, "kernel ELF"))
    image.write_bytes(elf.flat_image(checked, "kernel ELF"))
    listing = runner.run([NM, "--demangle", "--defined-only", "--no-sort", "--format=posix", str(kernel)])
    section.write_bytes(symbols.encode(functions(listing)))


def functions(listing: str) -> list[tuple[int, str]]:
    """(address, name) of the functions in nm's posix form: `name type address size`, names may hold blanks."""
    found = []
    for line in listing.splitlines():
        parts = line.rsplit(" ", 3)
        if len(parts) != 4:
            raise DamageError(f"llvm-nm: a line without four columns: {line!r}")
        name, kind, address, _ = parts
        if kind in "tTwW":
            found.append((int(address, 16), name))
    return found
