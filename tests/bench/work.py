"""One step of a release's way, measured as a process of its own: `python -m tests.bench.work STEP DIR`."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

from swiftbuild.core.events import Silent
from swiftbuild.core.verify import faults
from swiftbuild.effects.keys import FolderSigner, KeyFolder
from swiftbuild.effects.process import Processes
from swiftbuild.effects.project import load_profile
from swiftbuild.model.release import ReleaseFacts, SectionType, SignatureArea
from swiftbuild.stages.disk import DiskInput, build_disk
from swiftbuild.stages.root import MKFS
from swiftbuild.wire import release, verity

from tests.fakes import ROOT

PARTS = {SectionType.KERNEL: "kernel", SectionType.LOADER: "loader", SectionType.SYMBOLS: "symbols"}


def make(folder: Path) -> None:
    """A tree → EROFS, verity tree, slot image, signed."""
    base = folder / "ours.erofs"
    Processes(Silent()).run([MKFS, "--quiet", "--all-root", "-T0", str(base), str(folder / "tree")])
    erofs = base.read_bytes()
    tree = verity.build(erofs, uuid=UUID(int=1), salt=bytes(32))
    facts = ReleaseFacts(profile="qemu", version="1.0.0", rollback_index=1, verity_root=tree.root, flags_critical=1)
    sections = {SectionType.EROFS: erofs, SectionType.VERITY: tree.section,
                **{kind: (folder / name).read_bytes() for kind, name in PARTS.items()}}
    raw = bytearray(release.build_slot(facts, [(kind, sections[kind]) for kind in sorted(sections)]))
    signer = FolderSigner(KeyFolder(folder / "keys"), lambda _: b"")
    by = signer.sign(release.signed_message(release.release_digest(raw)))
    area = release.encode_signatures(SignatureArea(key_set=signer.key_set, signatures=by))
    raw[release.HEADER_SIZE : release.SECTIONS_START] = area
    (folder / "ours.release").write_bytes(raw)


def disk(folder: Path) -> None:
    """A signed release → the disk image."""
    sizes = load_profile(ROOT, "qemu").disk
    build_disk(DiskInput(profile="qemu", version="1.0.0", rollback_index=1, sizes=sizes, file_time=1_767_225_600,
                         slot_image=folder / "ours.release", loader=folder / "loader", data=folder / "data"),
               folder / "ours.img", folder / "ours.json")


def verify(folder: Path) -> None:
    """All that a machine asks of a release before it installs it."""
    found = faults((folder / "ours.release").read_bytes(), KeyFolder(folder / "keys").roots(), at=1_767_225_600)
    if found:
        raise SystemExit(str(found))


if __name__ == "__main__":
    {"make": make, "disk": disk, "verify": verify}[sys.argv[1]](Path(sys.argv[2]))
