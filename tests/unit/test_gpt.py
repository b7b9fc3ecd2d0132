"""GPT: the writer against sfdisk, the reader against damage."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.errors import DamageError
from swiftbuild.model.disk import BASE_TYPE, BOOTCTL_TYPE, DATA_TYPE, ESP_TYPE, PKGS_TYPE, DiskTable, Partition
from swiftbuild.wire import gpt

SECTORS = 131072
GUID = UUID("00112233-4455-8677-8899-aabbccddeeff")


def table(sectors: int = SECTORS) -> DiskTable:
    """A table with every field in use."""
    return DiskTable(
        guid=GUID,
        sectors=sectors,
        partitions=(
            Partition(type=ESP_TYPE, guid=UUID(int=1), first=2048, last=4095, name="esp"),
            Partition(type=DATA_TYPE, guid=UUID(int=2), first=4096, last=65535, name="däta", attributes=1 << 60 | 1),
        ),
    )


def disk(t: DiskTable) -> bytearray:
    """The whole disk's bytes."""
    out = bytearray(t.sectors * 512)
    for offset, data in gpt.encode(t).items():
        out[offset : offset + len(data)] = data
    return out


def test_sfdisk_writes_the_same_bytes(tmp_path: Path) -> None:
    script = f"label: gpt\nlabel-id: {GUID}\nfirst-lba: 34\n" + "".join(
        f'start={p.first}, size={p.sectors}, type={p.type}, uuid={p.guid}, name="{p.name}"'
        + (', attrs="RequiredPartition GUID:60"' if p.attributes else "") + "\n"
        for p in table().partitions
    )
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(SECTORS * 512))
    subprocess.run(["/usr/sbin/sfdisk", "-q", image], input=script, text=True, check=True)
    assert image.read_bytes() == bytes(disk(table()))


def test_the_type_guids_are_those_of_the_format() -> None:
    wanted = ["2fac1cdd-2005-8e58-8c5a-785f3e2452a5", "e5cd2363-558c-8e75-a344-f411b58bcbf9",
              "e00ce0e3-2b4a-84a2-97d7-aa91bfc9c34c", "1cbba837-1be8-8d12-8154-2cb55ace8277"]  # fmt: skip
    assert [str(guid) for guid in (BOOTCTL_TYPE, BASE_TYPE, PKGS_TYPE, DATA_TYPE)] == wanted


def test_reads_back_what_was_written() -> None:
    assert gpt.read(disk(table())) == table()


@pytest.mark.parametrize("at", [512, 512 + 24, 1024, 1024 + 56])
def test_the_backup_serves_when_the_primary_is_damaged(at: int) -> None:
    image = disk(table())
    image[at] ^= 1
    assert gpt.read(image) == table()


def test_refuses_a_disk_with_both_copies_damaged() -> None:
    image = disk(table())
    image[512 + 24] ^= 1
    image[-512 + 24] ^= 1
    with pytest.raises(DamageError, match=r"primary: header CRC.*backup: header CRC"):
        gpt.read(image)


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [(4000, 5000, "overlap"), (33, 40, "in the table"), (70000, SECTORS - 33, "in the backup"), (9, 8, "backwards"),
     (70000, 70001, "n" * 37)],
)  # fmt: skip
def test_refuses_to_write_what_a_checker_would_refuse(first: int, last: int, name: str) -> None:
    extra = Partition(type=ESP_TYPE, guid=UUID(int=3), first=first, last=last, name=name)
    with pytest.raises(ValueError, match="partition"):
        gpt.encode(table().model_copy(update={"partitions": (*table().partitions, extra)}))


@given(st.binary(max_size=4096))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    image = disk(table(4096 + 64).model_copy(update={"partitions": ()}))
    image[512 : 512 + len(junk)] = junk
    image[-512:] = junk[:512].ljust(512, b"\0")
    with contextlib.suppress(DamageError):
        gpt.read(image)
