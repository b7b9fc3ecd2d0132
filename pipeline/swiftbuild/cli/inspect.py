"""`swiftbuild inspect`: what an image holds, whether it is right, how two differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.session import Session, command
from swiftbuild.errors import DamageError, InputError, UsageError

if TYPE_CHECKING:
    from swiftbuild.core.check import Finding
    from swiftbuild.core.compare import Difference

Document = dict[str, Any]


@command
def inspect(
    session: Session,
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help="A disk image or a slot image.")] = None,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Look for every fault: tables, slots, digests, verity, FAT, kernel, loader, "
                                           "signatures, data volume.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two images: what differs, and whether keys alone explain it.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="List the files of each slot's base.")] = False,
) -> None:
    """Show what an image holds: partitions, GUIDs, slots, release headers, the base's files, boot control.

    With --check the exit status is 6 when there is a fault. With --compare it is 1 when something differs that keys do
    not explain.

    Example: swiftbuild inspect --check build/images/qemu.img
    """
    paths = images or []
    if len(paths) != (2 if compare else 1):
        raise UsageError(f"{len(paths)} images named", hint="inspect IMAGE, or inspect --compare A B")
    if compare:
        _compare(session, paths[0], paths[1])
    elif check:
        _check(session, paths[0])
    else:
        document = describe(paths[0])
        session.result(document, text_of(document, tree=tree))


def describe(path: Path) -> Document:
    from swiftbuild.core.describe import describe_disk, describe_slot
    from swiftbuild.machine.media import mapped
    from swiftbuild.scenarios.inspection import roots_of

    with mapped(path) as data:
        roots = roots_of(path)
        if bytes(data[:8]) == b"SWIFTREL":
            return {"kind": "slot image", "path": str(path), "size": len(data), **describe_slot(data, roots)}
        return {"path": str(path), **describe_disk(data, roots)}


def _check(session: Session, path: Path) -> None:
    from swiftbuild.scenarios.inspection import findings

    found = [*findings(path), *_volume_findings(session, path)]
    document = {"path": str(path), "ok": not found, "findings": [f.model_dump() for f in found]}
    session.result(document, _check_text(path, found))
    if found:
        raise typer.Exit(DamageError.exit_code)


def _volume_findings(session: Session, path: Path) -> list[Finding]:
    """What `swiftbuild data fsck` finds on the data partition."""
    from swiftbuild.cli.data import datatool, faults, volume_of
    from swiftbuild.core.check import Finding

    try:
        volume = volume_of(path)
    except (DamageError, InputError):
        return []  # a slot image, or a table whose fault is already found
    with datatool(session) as (tool, _):
        report = tool.check(volume)
    found = [Finding(where="data", code=code, text=text) for code, text in faults(report)]
    more = [Finding(where="data", code="more", text=f"and {report['more']} more")] if report["more"] else []
    return found + more


def _check_text(path: Path, found: list[Finding]) -> str:
    if not found:
        return f"{path}: no fault found"
    return "\n".join([f"{path}: {len(found)} faults", *(f"  {f.where}: {f.text} [{f.code}]" for f in found)])


def _compare(session: Session, one: Path, two: Path) -> None:
    from swiftbuild.scenarios.inspection import differences

    found = differences(one, two)
    unexplained = [d for d in found if not d.by_keys]
    verdict = "same" if not found else "different" if unexplained else "same but for keys"
    document = {
        "a": str(one), "b": str(two), "verdict": verdict, "differences": [d.model_dump() for d in found],
    }  # fmt: skip
    session.result(document, _compare_text(verdict, found))
    if unexplained:
        raise typer.Exit(1)


def _compare_text(verdict: str, found: list[Difference]) -> str:
    rows = [f"  {d.where}: {d.text}" + (" (by keys)" if d.by_keys else "") for d in found]
    meaning = {
        "same": "same: every byte",
        "same but for keys": "same but for signatures, embedded public keys and what is derived from them:",
        "different": "different:",
    }
    return "\n".join([meaning[verdict], *rows])


def text_of(document: Document, *, tree: bool) -> str:
    rows = [f"{document['path']}: {document['kind']}, {document['size']} bytes"]
    if document["kind"] != "disk":
        return "\n".join([*rows, *_slot_rows(document["kind"], document, tree=tree)])
    rows += [f"disk GUID {document['disk_guid']}", ""]
    rows += [f"{'#':>2} {'name':<8} {'offset':>11} {'bytes':>11}  {'GUID':<36}  type"]
    rows += [
        f"{p['number']:>2} {p['name']:<8} {p['offset']:>11} {p['size']:>11}  {p['guid']}  {p['type_name']}"
        for p in document["partitions"]
    ]
    if document["bootctl"]:
        rows += ["", *_bootctl_rows(document["bootctl"])]
    for name, slot in document["slots"].items():
        rows += ["", *_slot_rows(name, slot, tree=tree)]
    return "\n".join(rows)


def _bootctl_rows(bootctl: Document) -> list[str]:
    copies = ", ".join(
        f"copy {i}: " + (f"sequence {c['sequence']}" if "sequence" in c else c["problem"])
        for i, c in enumerate(bootctl["copies"])
    )
    rows = [f"boot control: {copies}"]
    if "block" not in bootctl:
        return rows
    block = bootctl["block"]
    rows.append(f"  rollback floor {block['rollback_floor']}; boots next: {', '.join(bootctl['order']) or 'nothing'}")
    for name, slot in zip("ab", block["slots"], strict=True):
        why = bootctl["refused"].get(name)
        state = why or ("good" if slot["successful"] else f"on trial, {slot['tries']} tries left")
        rows.append(f"  slot {name}: {state}; priority {slot['priority']}, version {slot['version'] or '-'}")
    return rows


def _slot_rows(name: str, slot: Document, *, tree: bool) -> list[str]:
    if slot["state"] == "empty":
        return [f"{name}: empty"]
    rows = [f"{name}: {slot['state']}" + (f": {slot['problem']}" if "problem" in slot else "")]
    if "digest" not in slot:
        return rows
    flags = ", ".join(slot["flags"]) or "no flags"
    rows += [
        f"  {slot['product']} {slot['version']}, {slot['profile']}, rollback index {slot['rollback_index']}, {flags}",
        f"  release digest {slot['digest']}, {len(slot['signatures'])} signatures",
        *_trust_rows(slot["trust"]),
        f"  verity root    {slot['verity_root']}",
    ]
    rows += [f"  {s['name']:<8} {s['offset']:>10} {s['length']:>10}  {s['sha256']}" for s in slot["sections"]]
    if "erofs" in slot:
        files = slot["erofs"]["files"]
        rows.append(f"  base: {len(files)} paths" + ("" if tree else " (--tree lists them)"))
        if tree:
            rows += [_file_row(file) for file in files]
    return rows


def _trust_rows(trust: Document) -> list[str]:
    rows = []
    if "key_set" in trust:
        known, signed = trust["key_set"], ", ".join(name[:16] for name in trust["signed_by"]) or "nobody"
        dev = ", throw-away keys" if known["dev"] else ""
        rows.append(f"  signed by      {signed} ({trust['threshold']} must), key set {known['version']}{dev}")
    for title, quorum in zip(("root", "root before"), trust.get("root", ()), strict=False):
        by = [name[:16] for name in trust.get("signed_by_root", ()) if name in quorum["keys"]]
        rows.append(f"  {title:14} {quorum['threshold']} of {len(quorum['keys'])} must sign the key set; "
                    f"signed by {', '.join(by) or 'nobody'}")
    verdict = "yes" if trust["accepted"] else f"no: {trust['problem']}"
    return [*rows, f"  accepted       {verdict}"]


def _file_row(file: Document) -> str:
    import stat

    target = f" -> {file['target']}" if "target" in file else ""
    mode = stat.filemode(int(file["mode"], 8))
    return f"    {mode} {file['uid']:>5} {file['gid']:>5} {file['size']:>9} {file['path']}{target}"
