"""A profile: what an image is made for (pipeline/profiles/NAME.toml)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from swiftbuild.model.written import Name, Written

MIB_PER_GIB = 1024


class DiskSizes(Written):
    """Partition sizes in MiB. The smallest are those of docs/formats/disk.md and can never shrink in the field."""

    esp_mib: Annotated[int, Field(ge=64, le=4096)] = 64
    bootctl_mib: Annotated[int, Field(ge=1, le=64)] = 1
    base_mib: Annotated[int, Field(ge=128, le=65536)] = 128
    pkgs_mib: Annotated[int, Field(ge=256, le=1048576)] = 256
    data_mib: Annotated[int, Field(ge=64, le=1048576)] = 64
    data_from: Annotated[str, Field(pattern=r"\A(?!/)(?!.*(?:\A|/)\.\.(?:/|\Z))[^\0]*\Z", max_length=1024)] = ""
    """Folder of the repository with the first contents of the data partition; empty: none."""


class DevPassword(Written):
    """A built-in password, for images marked dev only. Its salt is fixed: the same input gives the same bytes."""

    password: Annotated[str, Field(min_length=1, max_length=64)]
    salt: Annotated[str, Field(pattern=r"\A[A-Za-z0-9./]{8,16}\Z")]


class Board(Written):
    """The machine that `run`, `boot` and the tests start for this profile."""

    gic: Literal[2, 3]
    tables: Literal["fdt", "acpi"]
    disk: Literal["virtio-blk", "virtio-scsi"]
    cpu: Annotated[str, Field(pattern=r"\A[a-z0-9][a-z0-9=,-]*\Z")]
    cpus: Annotated[int, Field(ge=1, le=8)]
    memory_mib: Annotated[int, Field(ge=256, le=65536)]


class Login(Written):
    """The users that can log in, with what is built in for them."""

    root: DevPassword | None = None
    guest: DevPassword | None = None


class Profile(Written):
    """One profile file."""

    name: Name
    summary: Annotated[str, Field(min_length=1, max_length=120)]
    hostname: Name
    dev: bool
    """Images are marked dev: built-in passwords, keys that are no secret. Refused by every channel but `dev`."""
    rollback_index: Annotated[int, Field(ge=0)] = 1
    packages: Annotated[tuple[Name, ...], Field(min_length=1)]
    base: Literal["ram", "disk"] = "ram"
    """Where the base's files are while the system runs: a copy in memory, or the slot that was booted."""
    disk: DiskSizes
    login: Login
    board: Board
    rescue_device: Annotated[str, Field(pattern=r"\A(?:/dev/[a-z0-9]+)?\Z")] = ""
    """The disk that a rescue system writes this image to; empty where there is no rescue system."""
