"""ELF and PE files as lief sees them: a reader that shares no code with `wire.elf` or our loader.

Loaded only by `inspect --check` and tests; it reads and never writes (docs: PE/COFF specification, ELF gABI).
"""

from __future__ import annotations

import io

MACHINE_ARM64 = 0xAA64
SUBSYSTEM_EFI_APPLICATION = 10


def kernel_faults(data: bytes) -> list[str]:
    """What is wrong with a kernel ELF: architecture, W^X, entry, an executable stack."""
    import lief  # noqa: PLC0415

    parsed = lief.ELF.parse(io.BytesIO(data))
    if parsed is None:
        return ["lief cannot read it as ELF"]
    flags = lief.ELF.Segment.FLAGS
    faults = []
    if parsed.header.machine_type != lief.ELF.ARCH.AARCH64:
        faults.append(f"machine {parsed.header.machine_type}, expected AARCH64")
    for segment in parsed.segments:
        writable = bool(segment.flags & flags.W) and bool(segment.flags & flags.X)
        if segment.type in {lief.ELF.Segment.TYPE.LOAD, lief.ELF.Segment.TYPE.GNU_STACK} and writable:
            faults.append(f"segment at {segment.virtual_address:#x} is writable and executable")
    return faults


def loader_faults(data: bytes) -> list[str]:
    """What is wrong with a loader: an EFI application for arm64 whose sections keep W^X."""
    import lief  # noqa: PLC0415

    parsed = lief.PE.parse(io.BytesIO(data))
    if parsed is None:
        return ["lief cannot read it as PE"]
    faults = []
    if int(parsed.header.machine.value) != MACHINE_ARM64:
        faults.append(f"machine {parsed.header.machine}, expected ARM64")
    if int(parsed.optional_header.subsystem.value) != SUBSYSTEM_EFI_APPLICATION:
        faults.append(f"subsystem {parsed.optional_header.subsystem}, expected EFI application")
    kinds = lief.PE.Section.CHARACTERISTICS
    faults += [
        f"section {section.name!s} is writable and executable"
        for section in parsed.sections
        if section.has_characteristic(kinds.MEM_WRITE) and section.has_characteristic(kinds.MEM_EXECUTE)
    ]
    return faults
