"""Take the firmware tables out of a QEMU machine without running any guest code.

The DTB comes from QEMU's own `dumpdtb`. The ACPI tables are what a firmware would fetch over fw_cfg: we start the
same machine stopped (`-S`), drive the fw_cfg device's DMA interface over QEMU's qtest socket, and carry out the
`etc/table-loader` script (allocate, add pointer, add checksum) as a firmware does. References: QEMU
docs/specs/fw_cfg.rst and hw/acpi/bios-linker-loader.c.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.machine.slots import slot
from swiftbuild.machine.spec import QEMU

FW_CFG_BASE = 0x0902_0000  # of QEMU's virt board
FW_CFG_DMA = FW_CFG_BASE + 16
FILE_DIRECTORY = 0x19
RAM_BASE = 0x4000_0000  # scratch for the DMA; the machine is stopped, nothing else uses it
TABLES_BASE = 0x4100_0000  # where the linked tables are said to lie
START_TIMEOUT_S = 20.0


class FirmwareError(Exception):
    """QEMU did not give the tables."""


@dataclass(frozen=True)
class AcpiImage:
    """The linked tables as they would lie in memory: `data` at `base`, the RSDP at `rsdp`."""

    base: int
    rsdp: int
    data: bytes

    def tables(self) -> dict[str, bytes]:
        """Every table that the XSDT names, and the DSDT, by signature."""

        def at(address: int, length: int) -> bytes:
            return self.data[address - self.base : address - self.base + length]

        def table(address: int) -> bytes:
            return at(address, struct.unpack("<I", at(address + 4, 4))[0])

        xsdt = table(struct.unpack("<Q", at(self.rsdp + 24, 8))[0])
        found = {"XSDT": xsdt}
        for (address,) in struct.iter_unpack("<Q", xsdt[36:]):
            body = table(address)
            found[body[:4].decode("ascii")] = body
        return found


def dump_dtb(machine: Sequence[str], out: Path) -> bytes:
    """The DTB of the machine: `machine` holds its `-M`, `-cpu`, `-smp` and `-m` options."""
    options = [
        f"{option},dumpdtb={out}" if previous in ("-M", "-machine") else option
        for previous, option in zip(["", *machine], machine, strict=False)
    ]
    command = [QEMU, *options, "-display", "none", "-nodefaults"]
    with slot():
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 or not out.is_file():
        raise FirmwareError(f"{' '.join(command)}: no DTB: {done.stderr.strip()}")
    return out.read_bytes()


def dump_acpi(machine: Sequence[str], scratch: Path) -> AcpiImage:
    """The ACPI tables of the machine, linked as its firmware would link them."""
    path = scratch / "qtest.sock"
    path.unlink(missing_ok=True)
    command = [QEMU, *machine, "-S", "-display", "none", "-nodefaults"]
    command += ["-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "none"]
    with slot():
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with _Qtest(path, process) as qtest:
                return link_tables(_read_files(qtest))
        finally:
            process.kill()
            process.wait()


class _Qtest:
    """The line protocol of QEMU's qtest server: one command, one answer that starts with OK."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(START_TIMEOUT_S)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise FirmwareError(f"QEMU's qtest socket {path} never opened: {error}") from error
                time.sleep(0.05)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> _Qtest:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def command(self, text: str) -> str:
        self._socket.sendall(text.encode("ascii") + b"\n")
        answer = self._lines.readline().decode("ascii").strip()
        if not answer.startswith("OK"):
            raise FirmwareError(f"qtest: {text.split(maxsplit=1)[0]} answered {answer!r}")
        return answer[2:].strip()

    def fw_cfg(self, key: int, length: int) -> bytes:
        """Select item `key` and read its first `length` bytes by DMA (control: 8 = select, 2 = read)."""
        buffer = RAM_BASE + 4096
        request = struct.pack(">IIQ", key << 16 | 8 | 2, length, buffer)
        self.command(f"write {RAM_BASE:#x} {len(request)} 0x{request.hex()}")
        self.command(f"write {FW_CFG_DMA:#x} 8 0x{struct.pack('>Q', RAM_BASE).hex()}")
        control = bytes.fromhex(self.command(f"read {RAM_BASE:#x} 4")[2:])
        if control != bytes(4):
            raise FirmwareError(f"fw_cfg: reading item {key:#x} ended with control {control.hex()}")
        return bytes.fromhex(self.command(f"read {buffer:#x} {length}")[2:]) if length else b""


def _read_files(qtest: _Qtest) -> dict[str, bytes]:
    (count,) = struct.unpack(">I", qtest.fw_cfg(FILE_DIRECTORY, 4))
    directory = qtest.fw_cfg(FILE_DIRECTORY, 4 + 64 * count)
    wanted = ("etc/acpi/rsdp", "etc/acpi/tables", "etc/table-loader")
    files = {}
    for size, key, _, raw in struct.iter_unpack(">IHH56s", directory[4:]):
        name = _name(raw)
        if name in wanted:
            files[name] = qtest.fw_cfg(key, size)
    missing = [name for name in wanted if name not in files]
    if missing:
        raise FirmwareError(f"this machine has no ACPI: fw_cfg lacks {', '.join(missing)}")
    return files


def link_tables(files: dict[str, bytes]) -> AcpiImage:
    """Carry out the linker script: entries of 128 bytes, command first, little-endian."""
    blobs = {name: bytearray(data) for name, data in files.items() if name != "etc/table-loader"}
    place: dict[str, int] = {}
    end = TABLES_BASE
    script = files["etc/table-loader"]
    for start in range(0, len(script), 128):
        entry = script[start : start + 128]
        (command,) = struct.unpack_from("<I", entry)
        if command == 1:
            name = _name(entry[4:60])
            (align,) = struct.unpack_from("<I", entry, 60)
            end = (end + align - 1) // align * align
            place[name] = end
            end += len(blobs[name])
        elif command == 2:
            target, source = _name(entry[4:60]), _name(entry[60:116])
            offset, size = struct.unpack_from("<IB", entry, 116)
            field = slice(offset, offset + size)
            pointer = int.from_bytes(blobs[target][field], "little") + place[source]
            blobs[target][field] = pointer.to_bytes(size, "little")
        elif command == 3:
            name = _name(entry[4:60])
            offset, first, length = struct.unpack_from("<III", entry, 60)
            blob = blobs[name]
            blob[offset] = (blob[offset] - sum(blob[first : first + length])) & 0xFF
        elif command != 0:
            raise FirmwareError(f"etc/table-loader: unknown command {command} at {start}")
    data = bytearray(end - TABLES_BASE)
    for name, address in place.items():
        data[address - TABLES_BASE : address - TABLES_BASE + len(blobs[name])] = blobs[name]
    used = len(data.rstrip(b"\0")) // 4096 * 4096 + 4096  # the blob is padded to 128 KiB
    return AcpiImage(TABLES_BASE, place["etc/acpi/rsdp"], bytes(data[:used]))


def _name(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii")
