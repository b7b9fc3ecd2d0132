"""The peer: Debian's Linux for arm64 with the same programs on the same QEMU board, for `make bench`.

An initramfs of BusyBox, the modules of disk and ext4 and the programs that are put to work; the disk holds one ext4
made by mkfs.ext4 with its defaults, mounted at /data.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from swiftbuild.effects.apt import Apt
from swiftbuild.effects.process import Runner
from swiftbuild.machine.spec import Media

from tests import guests

META = "linux-image-cloud-arm64"
MODULES = ("virtio_mmio", "virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
MKFS = "/usr/sbin/mkfs.ext4"
COMMAND_LINE = "console=ttyAMA0 quiet panic=-1"
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /data /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root
for module in $(cat /modules/order); do insmod /modules/$module; done
mount -t ext4 /dev/vda /data && echo "peer is ready"
exec setsid sh -c 'exec sh </dev/ttyAMA0 >/dev/ttyAMA0 2>&1'
"""


@dataclass(frozen=True)
class Peer:
    """What the peer boots from."""

    version: str
    kernel: Path
    initramfs: Path
    disk: Path

    def media(self) -> Media:
        """For a machine."""
        return Media(kernel=self.kernel, initrd=self.initramfs, disk=self.disk, command_line=COMMAND_LINE)


class Debs:
    """Debian arm64 packages that no recipe takes, at their newest."""

    def __init__(self, apt: Apt, runner: Runner, folder: Path) -> None:
        self._apt, self._runner, self._folder = apt, runner, folder

    def file(self, package: str) -> Path:
        """The newest version's file."""
        version = self._apt.newest(package)
        file = self._apt.download(package, version, self._folder / package) if version else None
        if file is None:
            raise RuntimeError(f"the archive has no package {package}")
        return file

    def field(self, package: str, name: str) -> str:
        """A field of the control file."""
        return self._runner.run(["/usr/bin/dpkg-deb", "-f", str(self.file(package)), name]).strip()

    def members(self, package: str) -> Iterator[tuple[str, bytes]]:
        """Every regular file with its path."""
        unpacked = self._folder / f"{package}.tar"
        self._runner.run(["/bin/sh", "-c", 'exec dpkg-deb --fsys-tarfile "$0" > "$1"', str(self.file(package)),
                          str(unpacked)])  # fmt: skip
        with tarfile.open(unpacked) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file:
                    yield member.name.removeprefix("./"), file.read()


def dependencies(module: bytes) -> list[str]:
    """What a module names in its `.modinfo` as needed first."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in (found[1].decode() if found else "").split(",") if name]


def load_order(modules: Mapping[str, bytes], wanted: Iterable[str]) -> list[str]:
    """The wanted modules, each behind those that it needs; one that is built in is not there."""
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in modules:
            return
        for needed in dependencies(modules[name]):
            add(needed)
        order.append(name)

    for name in wanted:
        add(name)
    return order


def cpio(files: Mapping[str, bytes]) -> bytes:
    """A "newc" archive of executable files with their folders (Linux, Documentation/driver-api/early-userspace)."""
    out = bytearray()
    folders = sorted({"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)})
    entries = [*((name, 0o040755, b"") for name in folders), *((name, 0o100755, data) for name, data in files.items()),
               ("TRAILER!!!", 0, b"")]  # fmt: skip
    for number, (name, mode, data) in enumerate(entries, start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def make(folder: Path, debs: Debs, programs: Mapping[str, bytes], *, disk_mib: int) -> Peer:
    """Fetches Linux and puts the peer together. `programs` are further files of the initramfs, by path."""
    folder.mkdir(parents=True, exist_ok=True)
    image = re.match(r"linux-image-\S+", debs.field(META, "Depends"))
    if not image:
        raise RuntimeError(f"{META} names no kernel package")
    contents = dict(debs.members(image[0]))
    kernel = folder / "vmlinuz"
    kernel.write_bytes(next(data for name, data in contents.items() if name.startswith("boot/vmlinuz")))
    modules = {Path(name).stem.replace("-", "_"): data for name, data in contents.items() if name.endswith(".ko")}
    order = load_order(modules, MODULES)
    guests.build("busybox")
    files = {"init": INIT.encode(), "bin/busybox": guests.program("busybox").read_bytes(), **programs,
             "modules/order": "\n".join(order).encode(),
             **{f"modules/{name}": modules[name] for name in order}}  # fmt: skip
    initramfs, disk = folder / "initramfs.gz", folder / "ext4.img"
    initramfs.write_bytes(gzip.compress(cpio(files), 1))
    with disk.open("wb") as file:
        file.truncate(disk_mib << 20)
    subprocess.run([MKFS, "-q", "-F", str(disk)], check=True)
    return Peer(debs.field(image[0], "Version"), kernel, initramfs, disk)
