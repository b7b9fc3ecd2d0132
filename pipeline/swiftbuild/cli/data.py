"""`swiftbuild data`: what lies on the data partition of a disk image, or in a file that is a volume by itself."""

from __future__ import annotations

import contextlib
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.session import Session, command
from swiftbuild.errors import DamageError, InputError, UsageError

if TYPE_CHECKING:
    from swiftbuild.effects.datatool import DataTool, Volume

data_app = typer.Typer(help="Data volumes (datafs): make, check, list, copy into and out of.", no_args_is_help=True)
ImageArgument = Annotated[Path, typer.Argument(metavar="IMAGE", help="A disk image, or a file that is a volume.")]
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
BLOCK = 4096
SMALLEST = 8 << 20
"""Bytes of the smallest volume: the log's least and some room."""


@dataclass(frozen=True)
class Inside:
    """A path inside an image: `IMAGE:/PATH`."""

    image: Path
    path: str


@contextlib.contextmanager
def datatool(session: Session) -> Iterator[tuple[DataTool, Path]]:
    """The program for volumes, built when it is not there or its source changed, and a folder for archives."""
    from swiftbuild.cli.workshop import workshop
    from swiftbuild.effects.datatool import DataTool

    with workshop(session) as shop:
        outcome = shop.run(shop.datatool_plan(), force=False)
        program = shop.path(outcome, "datatool", "datatool")[0]
        with tempfile.TemporaryDirectory(dir=session.root / "build") as folder:
            yield DataTool(program, shop.processes), Path(folder)


def volume_of(image: Path) -> Volume:
    """Where the volume lies: the whole file, or the partition `data` of a disk image."""
    from swiftbuild.effects.datatool import Volume
    from swiftbuild.limits import SECTOR
    from swiftbuild.machine.images import QCOW2
    from swiftbuild.machine.media import mapped
    from swiftbuild.wire import gpt

    with mapped(image) as data:
        if bytes(data[:4]) == QCOW2:
            raise UsageError(f"{image} is no raw image", hint=f"qemu-img convert -O raw {image} {image.stem}.img")
        if b"SWDATAFS" in (bytes(data[:8]), bytes(data[BLOCK : BLOCK + 8])):
            return Volume(image.absolute(), 0, len(data), str(image))
        try:
            partition = gpt.read(data).named("data")
        except DamageError as error:
            raise DamageError(f"{image}: neither a volume nor a disk image: {error.message}") from None
    if partition is None:
        raise InputError(f"{image} has no partition data", hint="was it made by swiftbuild image?")
    return Volume(image.absolute(), partition.first * SECTOR, partition.sectors * SECTOR, str(image))


@command
def mkfs(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The volume; it must not be there yet.")],
    *,
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="Bytes, or with K, M, G, T.")] = "64M",
    source: Annotated[Path | None, typer.Option("--from", metavar="FOLDER", help="Its first contents.")] = None,
    label: Annotated[str, typer.Option("--label", help="Its name, up to 32 bytes.")] = "data",
) -> None:
    """Make a volume in a new file, empty or with a folder's contents.

    The same contents, size and label give the same bytes. Root owns everything; what may be executed stays so.

    Example: swiftbuild data mkfs /tmp/data.img --size 1G --from site/
    """
    from swiftbuild.effects.datatool import Volume
    from swiftbuild.effects.files import no_space_named, replacing
    from swiftbuild.stages.data import DataInput, build_data

    length = _bytes(size)
    if file.exists():
        raise UsageError(f"{file} is there already", hint="remove it, or name another file")
    if source is not None and not source.is_dir():
        raise UsageError(f"--from {source}: no such folder")
    shown, file = str(file), file.absolute()
    with datatool(session) as (tool, work):
        given = DataInput(owner="", label=label, folder=source and source.absolute(), size=length,
                          file_time=_time(session), shown=shown)
        with no_space_named(file, length), replacing(file) as temporary:
            build_data(given, tool, work, temporary)
        facts = tool.facts(Volume(file, 0, length, shown))
    session.result({"path": str(file), **facts}, f"{file}: {length} bytes, UUID {facts['uuid']}")


def _time(session: Session) -> int:
    """When files of a volume were changed: as all files of this version."""
    from swiftbuild.core.version import file_time
    from swiftbuild.effects.project import version

    return file_time(version(session.root))


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)", text.upper())
    length = int(found[1]) * SIZES[found[2]] if found else 0
    if length < SMALLEST or length % BLOCK:
        raise UsageError(f"--size {text}: not a size of at least {SMALLEST >> 20}M in whole blocks of 4K",
                         hint="for instance --size 64M")
    return length


@command
def ls(
    session: Session,
    image: ImageArgument,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A directory or a file of the volume.")] = "/",
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="All below it, too.")] = False,
) -> None:
    """List what a volume holds.

    Example: swiftbuild data ls build/images/qemu.img -R
    """
    volume = volume_of(image)
    with datatool(session) as (tool, _):
        rows = tool.list(volume, path, recursive=recursive)
    session.result({"path": path, "entries": rows}, "\n".join(map(_row, rows)))


def _row(row: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(row["modified"], tz=UTC)
    target = f" -> {row['target']}" if row["target"] is not None else ""
    return (f"{stat.filemode(row['mode'])} {row['links']:>3} {row['user']:>5} {row['group']:>5} {row['size']:>12} "
            f"{when:%Y-%m-%d %H:%M} {row['name']}{target}")


@command
def cp(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A file or folder, or IMAGE:/PATH.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="IMAGE:/FOLDER, or a folder of this machine.")],
) -> None:
    """Copy files and folders out of a volume, or into one.

    What is copied lies in TO under its own name, as with cp -r; a file that is there is replaced. Into an image: root
    owns it; while a machine runs from the image, that is refused.

    Example: swiftbuild data cp build/images/qemu.img:/etc/app.toml .
    """
    outside, inside = _inside(source), _inside(target)
    if (outside is None) == (inside is None):
        raise UsageError("one of FROM and TO lies in an image, and one does not",
                         hint="swiftbuild data cp IMAGE:/PATH FOLDER, or FILE IMAGE:/FOLDER")
    if outside is not None:
        _copy_out(session, outside, Path(target))
    elif inside is not None:
        _copy_in(session, Path(source), inside)


def _inside(text: str) -> Inside | None:
    image, colon, path = text.partition(":/")
    return Inside(Path(image), f"/{path}") if colon else None


def _copy_out(session: Session, source: Inside, folder: Path) -> None:
    from swiftbuild.effects.trees import unpack

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name one that is there")
    volume = volume_of(source.image)
    with datatool(session) as (tool, work):
        archive = work / "out.tar"
        tool.read(volume, source.path, archive)
        names = unpack(archive, folder.absolute(), tool.runner)
    session.result({"to": str(folder), "names": names}, f"{folder}: {len(names)} paths copied")


def _copy_in(session: Session, source: Path, target: Inside) -> None:
    from swiftbuild.effects.imagelock import writing
    from swiftbuild.effects.trees import pack

    if not (source.is_file() or source.is_dir()):
        raise UsageError(f"there is no file or folder {source}")
    volume = volume_of(target.image)
    with writing(volume.file, volume.shown), datatool(session) as (tool, work):
        archive = work / "in.tar"
        pack(source, archive, time=_time(session), name=source.absolute().name)
        tool.write(volume, target.path, archive, time=_time(session))
    session.result({"to": f"{target.image}:{target.path}"}, f"{target.image}:{target.path}: copied")


@command
def fsck(session: Session, image: ImageArgument) -> None:
    """Check a volume, whole: nothing is changed, and a log that a cut left is replayed in memory.

    The exit status is 6 when something is wrong.
    """
    volume = volume_of(image)
    with datatool(session) as (tool, _):
        report = tool.check(volume)
    found = report["findings"]
    counts = (f"{report['inodes']} inodes, {report['directories']} of them directories, {report['used_blocks']} of "
              f"{report['blocks']} blocks in use, {report['records']} records in the log")
    rows = [f"  {text} [{fault}]" for fault, text in faults(report)]
    rows += [f"  and {report['more']} more"] if report["more"] else []
    said = f"{len(found) + report['more']} faults" if found else "no fault found"
    session.result({"path": str(image), "ok": not found, **report}, "\n".join([f"{image}: {said}; {counts}", *rows]))
    if found:
        raise typer.Exit(DamageError.exit_code)


def faults(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and sentence of each fault that a check has found."""
    return [(row["fault"], f"block {row['block']}, inode {row['inode']}: {row['words']}"
             + (f": {row['detail']}" if row["detail"] else "")) for row in report["findings"]]


@command
def dump(session: Session, image: ImageArgument) -> None:
    """Describe a volume: identity, features, superblocks, log, space."""
    volume = volume_of(image)
    with datatool(session) as (tool, _):
        facts = tool.facts(volume)
    space = facts["space"]
    rows = [
        f"label {facts['label'] or '-'}, UUID {facts['uuid']}",
        f"{facts['blocks']} blocks of {facts['block_size']} bytes, on a device of {facts['device_blocks']}",
        f"features: compatible {facts['features']['compat']:#x}, read-only-compatible "
        f"{facts['features']['ro_compat']:#x}, incompatible {facts['features']['incompat']:#x}",
        f"log: {facts['log_blocks']} blocks, " + ("to be replayed" if facts["log_to_replay"] else "nothing to replay")
        + (", files to be freed" if facts["orphans"] else ""),
        f"space: {space['free']} of {space['blocks']} blocks free, {space['inodes_free']} of {space['inodes']} inodes",
        *(f"superblock {at}: " + (copy.get("problem") or f"sequence {copy['sequence']}")
          for at, copy in enumerate(facts["superblocks"])),
    ]
    session.result(facts, "\n".join(rows))


data_app.command("mkfs")(mkfs)
data_app.command("fsck")(fsck)
data_app.command("ls")(ls)
data_app.command("cp")(cp)
data_app.command("dump")(dump)
