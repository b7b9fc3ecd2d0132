"""A GPT disk: its table and its partitions (docs/formats/disk.md)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from swiftbuild.digest import derive_uuid
from swiftbuild.limits import MIB
from swiftbuild.model.binary import U64, Record

LOADER_PATH = "EFI/BOOT/BOOTAA64.EFI"
"""On the EFI system partition: what the firmware starts."""
SECOND_LOADER_PATH = "EFI/BOOT/SECOND.EFI"
"""The place of a loader that is to be tried; their directory entries change places when it is kept."""
LOADER_FILE_BYTES = MIB
"""Of either, whatever the loader's size: zeros follow it."""
ESP_TYPE = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")


def project_type(name: str) -> UUID:
    """The partition type GUID of one of our own kinds of partition."""
    return derive_uuid("swift-os partition type ", name)


BOOTCTL_TYPE = project_type("bootctl")
BASE_TYPE = project_type("base")
PKGS_TYPE = project_type("pkgs")
DATA_TYPE = project_type("data")
TYPE_NAMES = {
    ESP_TYPE: "EFI system",
    BOOTCTL_TYPE: "swift-os boot control",
    BASE_TYPE: "swift-os base slot",
    PKGS_TYPE: "swift-os packages",
    DATA_TYPE: "swift-os data",
}


class Partition(Record):
    """One entry of the table; `first` and `last` are sectors, both inside the partition."""

    type: UUID
    guid: UUID
    first: U64
    last: U64
    name: str = ""
    attributes: U64 = 0

    @property
    def sectors(self) -> int:
        """Its length."""
        return self.last - self.first + 1


class DiskTable(Record):
    """A partition table over `sectors` sectors of 512 bytes."""

    guid: UUID
    sectors: Annotated[U64, Field(ge=2048)]
    partitions: tuple[Partition, ...]

    def named(self, name: str) -> Partition | None:
        """The first partition of that name."""
        return next((p for p in self.partitions if p.name == name), None)
