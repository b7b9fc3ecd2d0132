"""`swiftbuild slots`: the boot-control block of a disk image, shown and changed as the loader and the system do it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.session import Session, command
from swiftbuild.errors import UsageError

if TYPE_CHECKING:
    from swiftbuild.model.bootctl import BootControl, SlotEntry
    from swiftbuild.model.disk import Partition

slots_app = typer.Typer(help="Boot slots of a disk image: which one starts, and why not the other.",
                        no_args_is_help=True)
ImageArgument = Annotated[Path, typer.Argument(metavar="IMAGE", help="A disk image that no machine runs from.")]
PRIORITY_MAX, TRIES_MAX = 15, 7


@command
def show(session: Session, image: ImageArgument) -> None:
    """Show both copies of the boot-control block, the floor, and which slot the loader tries first."""
    from swiftbuild.limits import SECTOR
    from swiftbuild.machine.media import mapped

    with mapped(image) as disk:
        place = _partition(disk)
        raw = bytes(disk[place.first * SECTOR : (place.last + 1) * SECTOR])
    document = _document(raw)
    session.result(document, "\n".join(_lines(document)))


@command
def set_(
    session: Session,
    image: ImageArgument,
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="a or b.")],
    priority: Annotated[
        int | None, typer.Option("--priority", min=0, max=PRIORITY_MAX, help="Larger is tried first; 0: never.")
    ] = None,
    tries: Annotated[
        int | None, typer.Option("--tries", min=0, max=TRIES_MAX, help="Boots that a slot on trial has left.")
    ] = None,
    good: Annotated[bool | None, typer.Option("--good/--trial", help="Marked good, or on trial.")] = None,
    bad: Annotated[bool | None, typer.Option("--bad/--not-bad", help="Failed its verification, or not.")] = None,
    floor: Annotated[
        int | None, typer.Option("--floor", min=0, help="Smallest rollback index that may boot; it may rise only.")
    ] = None,
) -> None:
    """Change what the loader knows of a slot: to try out a rollback, or to repair a disk that is not running.

    One copy of the block is written and flushed, the other stays: a cut leaves the old block.

    Example: swiftbuild slots set build/images/qemu.img a --trial --tries 1
    """
    from swiftbuild.core.slots import NAMES
    from swiftbuild.effects.imagelock import writing
    from swiftbuild.limits import SECTOR
    from swiftbuild.machine.media import mapped
    from swiftbuild.wire import bootctl

    if slot not in NAMES:
        raise UsageError(f"{slot}: no slot; there are: {', '.join(NAMES)}")
    told = {"priority": priority, "tries": tries, "successful": good, "bad": bad}
    changes = {name: int(value) for name, value in told.items() if value is not None}
    if not changes and floor is None:
        raise UsageError("nothing to set", hint="name what: --priority, --tries, --good, --trial, --bad, --floor")
    with mapped(image) as disk:
        place = _partition(disk)
    with writing(image, str(image)), image.open("r+b") as file:
        file.seek(place.first * SECTOR)
        raw = file.read(place.sectors * SECTOR)
        _, block = bootctl.current(raw)
        if floor is not None and floor < block.rollback_floor:
            raise UsageError(f"--floor {floor}: it is {block.rollback_floor}, and never falls")
        at, copy = bootctl.following(raw, _changed(block, NAMES.index(slot), changes, floor))
        file.seek(place.first * SECTOR + at)
        file.write(copy)
        file.flush()
        os.fsync(file.fileno())
    document = _document(raw[:at] + copy + raw[at + len(copy) :])
    session.result(document, "\n".join(_lines(document)))


def _partition(disk: memoryview) -> Partition:
    from swiftbuild.errors import DamageError
    from swiftbuild.wire import gpt

    place = gpt.read(disk).named("bootctl")
    if place is None:
        raise DamageError("no image of ours: it has no partition bootctl", hint="was it made by swiftbuild image?")
    return place


def _changed(block: BootControl, index: int, changes: dict[str, int], floor: int | None) -> BootControl:
    entries: list[SlotEntry] = list(block.slots)
    entries[index] = entries[index].model_copy(update=changes)
    kept = block.rollback_floor if floor is None else floor
    return block.model_copy(update={"slots": tuple(entries), "rollback_floor": kept})


def _document(raw: bytes) -> dict[str, Any]:
    from swiftbuild.core.slots import NAMES, choose
    from swiftbuild.model.bootctl import BootControl, Reason
    from swiftbuild.wire import bootctl

    index, block = bootctl.current(raw)
    choice = choose(block)
    copies = [{"sequence": copy.sequence, "counts": number == index} if isinstance(copy, BootControl)
              else {"damage": copy.message} for number, copy in enumerate(bootctl.read_copies(raw))]
    slots = [
        {
            "slot": name, "version": entry.version, "rollback_index": entry.rollback_index,
            "release": entry.release_digest.hex(), "priority": entry.priority, "tries": entry.tries,
            "good": entry.successful == 1, "bad": bool(entry.bad), "unfinished_boots": entry.unfinished_boots,
            "place": choice.order.index(name) + 1 if name in choice.order else None,
            "refused": choice.refused.get(name), "reason": entry.reason,
            "reason_code": next((r.name.lower() for r in Reason if r == entry.reason_code), str(entry.reason_code)),
        }
        for name, entry in zip(NAMES, block.slots, strict=True)
    ]
    booted = NAMES[block.last_booted] if block.last_booted < len(NAMES) else None
    trial = block.loader_trial
    loader = {"digest": trial.digest.hex(), "security": trial.security, "starts_left": trial.tries} if trial else None
    return {"copies": copies, "rollback_floor": block.rollback_floor, "loader_floor": block.loader_floor,
            "last_booted": booted, "slots": slots, "loader_on_trial": loader}


def _lines(document: dict[str, Any]) -> list[str]:
    lines = []
    for number, copy in enumerate(document["copies"]):
        what = copy.get("damage") or f"sequence {copy['sequence']}{', the one that counts' if copy['counts'] else ''}"
        lines.append(f"copy {number}   {what}")
    lines += [f"floor    {document['rollback_floor']}", f"booted   {document['last_booted'] or 'never'}"]
    if trial := document["loader_on_trial"]:
        about = f"{trial['digest'][:16]}, security version {trial['security']}"
        lines.append(f"loader   {about}, on trial, {trial['starts_left']} starts left")
    lines.append("")
    for row in document["slots"]:
        if not row["version"]:
            lines.append(f"slot {row['slot']}   empty")
            continue
        state = "good" if row["good"] else f"on trial, {row['tries']} tries left"
        place = f"tried as number {row['place']}" if row["place"] else f"not tried: {row['refused']}"
        about = f"{row['version']}, index {row['rollback_index']}, release {row['release'][:16]}"
        lines.append(f"slot {row['slot']}   {about}")
        lines.append(f"         priority {row['priority']}, {state}; {place}")
        if row["reason_code"] != "none":
            lines.append(f"         last failure: {row['reason_code']}{': ' if row['reason'] else ''}{row['reason']}")
    return lines


slots_app.command("show")(show)
slots_app.command("set")(set_)
