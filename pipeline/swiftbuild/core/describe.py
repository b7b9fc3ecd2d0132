"""What a disk image or a slot image holds, as a document."""

from __future__ import annotations

import stat

from swiftbuild.core.check import SLOTS, is_empty, partitions
from swiftbuild.core.slots import choose
from swiftbuild.errors import DamageError, SwiftbuildError
from swiftbuild.limits import SECTOR
from swiftbuild.model.bootctl import BootControl
from swiftbuild.model.disk import TYPE_NAMES, DiskTable
from swiftbuild.model.release import CriticalFlag, OptionalFlag, SectionType
from swiftbuild.model.signing import KeySetFlag, Role, Roots
from swiftbuild.wire import bootctl, erofs, gpt, release, verity
from swiftbuild.wire.view import Buffer

Document = dict[str, object]


def describe_disk(disk: Buffer, roots: Roots | DamageError | None) -> Document:
    """The whole image; a part that cannot be read says why under `problem`. `roots`: of the loader on its ESP."""
    table = gpt.read(disk)
    contents = partitions(disk, table)
    return {
        "kind": "disk",
        "size": len(disk),
        "partitions": describe_table(table),
        "disk_guid": str(table.guid),
        "bootctl": describe_bootctl(contents["bootctl"]) if "bootctl" in contents else None,
        "slots": {name: describe_slot(contents[name], roots) for name in SLOTS if name in contents},
    }


def describe_table(table: DiskTable) -> list[Document]:
    """The partitions."""
    return [
        {
            "number": number,
            "name": p.name,
            "type": str(p.type),
            "type_name": TYPE_NAMES.get(p.type, "unknown"),
            "guid": str(p.guid),
            "offset": p.first * SECTOR,
            "size": p.sectors * SECTOR,
            "attributes": p.attributes,
        }
        for number, p in enumerate(table.partitions, 1)
    ]


def describe_slot(partition: Buffer, roots: Roots | DamageError | None) -> Document:
    """A slot: empty, damaged, or its release, and whether a loader with these root keys takes it."""
    if is_empty(partition):
        return {"state": "empty"}
    try:
        image = release.read_slot(partition)
        wrong = {s.type for s in image.wrong_digests()}
        tree = verity.read_superblock(image.section(SectionType.VERITY))
    except SwiftbuildError as error:
        return {"state": "damaged", "problem": error.message}
    header = image.header
    document: Document = {
        "state": "damaged" if wrong else "ok",
        "digest": image.digest.hex(),
        "flags": [
            flag.name.lower()
            for kind, flags in ((CriticalFlag, header.flags_critical), (OptionalFlag, header.flags_optional))
            for flag in kind if flags & flag and flag.name
        ],
        **header.model_dump(mode="json", exclude={"sections"}),
        "sections": [
            {
                "name": s.name, "offset": s.offset, "length": s.length, "sha256": s.digest.hex(),
                "critical": s.critical, "digest_ok": s.type not in wrong,
            }
            for s in header.sections
        ],
        "signatures": [
            {"algorithm": s.algorithm, "key_id": s.key_id.hex(), "length": len(s.signature)}
            for s in image.signatures.signatures
        ],
        "key_set_bytes": len(image.signatures.key_set),
        "trust": describe_signatures(partition, roots),
        "verity": {"uuid": str(tree.uuid), "data_blocks": tree.data_blocks, "salt": tree.salt.hex()},
    }  # fmt: skip
    if wrong:
        document["problem"] = "sections are not those that the header names"
    try:
        document["erofs"] = describe_erofs(erofs.Erofs(image.section(SectionType.EROFS)))
    except DamageError as error:
        document |= {"state": "damaged", "problem": error.message}
    return document


def describe_signatures(slot: Buffer, roots: Roots | DamageError | None) -> Document:
    """Who signed a slot's release, and whether a loader with these root keys takes it."""
    from swiftbuild.core import trust  # noqa: PLC0415 - what else is described needs no cryptography

    if not isinstance(roots, Roots):
        return {"accepted": False, "problem": roots.message if roots else "there is no loader to ask"}
    document: Document = {"root": [
        {"threshold": quorum.threshold, "keys": [key.key_id.hex() for key in quorum.keys]} for quorum in roots.quorums]}
    try:
        found = trust.read_signed(slot, roots)
    except SwiftbuildError as error:
        return document | {"accepted": False, "problem": error.message}
    key_set = found.key_set.key_set
    document |= {
        "signed_by_root": sorted(key.hex() for key in found.by_root),
        "signed_by": sorted(key.hex() for key in found.by_keys),
        "threshold": key_set.threshold(Role.RELEASE),
        "key_set": {"version": key_set.version, "expires": key_set.expires, "dev": bool(key_set.flags & KeySetFlag.DEV),
                    "digest": found.key_set.digest.hex()},
    }
    try:
        trust.accept_release(slot, roots)
    except SwiftbuildError as error:
        return document | {"accepted": False, "problem": error.message}
    return document | {"accepted": True}


def describe_erofs(image: erofs.Erofs) -> Document:
    """The superblock's facts and every path."""
    return {
        "uuid": str(image.uuid),
        "blocks": image.blocks,
        "build_time": image.build_time,
        "files": [_file(image, path, node) for path, node in image.walk()],
    }


def _file(image: erofs.Erofs, path: str, node: erofs.Node) -> Document:
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    row: Document = {"path": shown, "mode": f"{node.mode:06o}", "uid": node.uid, "gid": node.gid, "size": node.size}
    if stat.S_ISLNK(node.mode):
        row["target"] = image.contents(node).decode("utf-8", "backslashreplace")
    if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        row["device"] = list(node.rdev)
    return row


def describe_bootctl(partition: Buffer) -> Document:
    """Both copies, the current block, and which slot boots next."""
    copies = bootctl.read_copies(partition)
    document: Document = {
        "copies": [
            {"sequence": c.sequence} if isinstance(c, BootControl) else {"problem": c.message} for c in copies
        ]
    }
    try:
        index, block = bootctl.current(partition)
    except DamageError as error:
        return document | {"problem": error.message}
    choice = choose(block)
    return document | {
        "current": index,
        "block": block.model_dump(mode="json"),
        "order": list(choice.order),
        "refused": choice.refused,
    }
