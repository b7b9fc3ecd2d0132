"""`swiftbuild image`: the disk image of a profile. `swiftbuild build`: its parts, without the disk."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.session import Session, command
from swiftbuild.errors import UsageError

if TYPE_CHECKING:
    from swiftbuild.cli.workshop import Workshop
    from swiftbuild.core.accounts import Access
    from swiftbuild.engine.run import Outcome, Step
    from swiftbuild.model.profile import Profile

ProfileOption = Annotated[
    str | None, typer.Option("--profile", "-p", metavar="NAME", help="What the image is made for; none lists them.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="PATH",
                              help="Where the image goes [build/images/NAME.img, or NAME+PACKAGE.img].")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say which actions would run, and why; change nothing.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Run every action again.")]
LockedOption = Annotated[bool, typer.Option("--locked", help="Refuse a Debian package whose locked version is gone.")]
PasswordOption = Annotated[
    list[str] | None,
    typer.Option("--password-hash", metavar="[USER:]HASH", help="SHA-512-crypt in place of built-in passwords."),
]
KeyOption = Annotated[
    list[Path] | None, typer.Option("--ssh-key", metavar="FILE", help="Public keys that may log in as root.")
]
WithOption = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="PACKAGE", help="A package more than the profile's, with what it requires."),
]
NoDevOption = Annotated[
    bool, typer.Option("--no-dev", help="As if the profile said dev = false: no built-in passwords.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Really write to a block device.")]

PARTS = {"kernel": ("swift-kernel", "kernel.elf"), "kernel-forms": ("Image", "Image"),
         "loader": ("swift-loader", "BOOTAA64.EFI"), "root": ("root.erofs", "root.erofs"),
         "verity": ("verity", "verity"), "signed": ("slot.img", "slot.img")}
"""Action → its output, and the name under which it is shown in build/parts/PROFILE."""


@command
def image(
    session: Session,
    profile: ProfileOption = None,
    with_: WithOption = None,
    out: OutOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    locked: LockedOption = False,
    password_hash: PasswordOption = None,
    ssh_key: KeyOption = None,
    no_dev: NoDevOption = False,
    yes: YesOption = False,
) -> None:
    """Build the disk image of a profile, and say how to boot it.

    Builds only what changed. Try: swiftbuild image --profile qemu

    An image --with more packages has a name of its own, so that the profile's stays beside it:
    swiftbuild image --profile qemu --with sqlite3 && swiftbuild run build/images/qemu+sqlite3.img
    """
    from swiftbuild.cli import workshop as wiring
    from swiftbuild.effects import project

    if profile is None:
        list_profiles(session)
        return
    name = "+".join([profile, *(with_ or ())])
    target = (out or session.root / "build" / "images" / f"{name}.img").absolute()
    _check_target(target, yes=yes)
    if out:
        _check_replaced(target, compressed=bool(project.load_profile(session.root, profile).rescue_device))
    access = access_of(password_hash or [], ssh_key or [])
    with wiring.workshop(session) as shop:
        loaded = shop.profile(profile, no_dev=no_dev)
        actions = shop.plan(profile, access, with_ or (), no_dev=no_dev)
        if dry_run:
            show_plan(session, shop.preview(actions, force=force))
            return
        outcome = shop.run(actions, force=force, locked=locked)
        _deliver(shop, outcome, profile, target)
        parts = _deliver_parts(shop, outcome, profile, named=out is None and not with_)
        document = _describe(shop, outcome, loaded, target, parts, access)
        document["with"] = list(with_ or ())
        summary = shop.report.summary()
    session.note(summary)
    session.result(document, _told(document, session.root))


@command
def build(
    session: Session,
    profile: ProfileOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    locked: LockedOption = False,
) -> None:
    """Build the parts of a profile's image (kernel, loader, base, slot image) into build/parts/NAME."""
    from swiftbuild.cli import workshop as wiring

    if profile is None:
        list_profiles(session)
        return
    with wiring.workshop(session) as shop:
        every = shop.plan(profile, access_of([], []))
        actions = {name: action for name, action in every.items() if not name.startswith(("disk/", "compressed/"))}
        if dry_run:
            show_plan(session, shop.preview(actions, force=force))
            return
        outcome = shop.run(actions, force=force, locked=locked)
        parts = _deliver_parts(shop, outcome, profile, named=True)
        summary = shop.report.summary()
    session.note(summary)
    document = {"profile": profile, "parts": parts}
    session.result(document, "\n".join(f"{name:14} {part['path']}" for name, part in parts.items()))


def list_profiles(session: Session) -> None:
    from swiftbuild.effects import project

    loaded = [project.load_profile(session.root, name) for name in project.profiles(session.root)]
    rows = [f"  {p.name:10} {p.summary}" for p in loaded]
    session.result({"profiles": [{"name": p.name, "summary": p.summary, "dev": p.dev} for p in loaded]},
                   "\n".join(["profiles (swiftbuild image --profile NAME):", *rows]))


def access_of(password_hashes: list[str], key_files: list[Path]) -> Access:
    from swiftbuild.core.accounts import parse_access

    lines = []
    for file in key_files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--ssh-key {file}: cannot be read: {error}") from None
        lines += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return parse_access(password_hashes, lines)


def _check_target(target: Path, *, yes: bool) -> None:
    """A block device is overwritten only by order; a folder or a device of another kind never."""
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISBLK(mode) and not yes:
        raise UsageError(f"{target} is a block device: everything on it would be lost",
                         hint="add --yes if that is meant")
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise UsageError(f"{target} is no place for an image: not a file", hint="name a file with --out")


def _check_replaced(target: Path, *, compressed: bool) -> None:
    """A file that somebody else made is never overwritten: not by the image, and not by its compressed copy."""
    from swiftbuild.machine.images import is_ours

    there = target.is_file()
    beside = _compressed(target)
    if there and not is_ours(target):
        found = target
    elif compressed and not there and not target.is_block_device() and beside.exists():
        found = beside
    else:
        return
    raise UsageError(f"{found} is there and is no disk image of ours: it is not overwritten",
                     hint="name another file with --out, or remove that one")


def _compressed(target: Path) -> Path:
    """Where an image's compressed copy lies."""
    return target.with_name(f"{target.name}.zst")


def show_plan(session: Session, steps: list[Step]) -> None:
    stale = [step for step in steps if step.stale]
    rows = [f"  run     {step.action:20} {step.why}" if step.stale else f"  cached  {step.action}" for step in steps]
    document = {"actions": [{"name": s.action, "run": s.stale, "why": s.why} for s in steps], "stale": len(stale)}
    session.result(document, "\n".join([*rows, f"{len(stale)} of {len(steps)} actions would run"]))


def _deliver(shop: Workshop, outcome: Outcome, profile: str, target: Path) -> None:
    """Puts the image where it belongs: sparse, whole or not at all."""
    from swiftbuild.effects.files import no_space_named, replacing
    from swiftbuild.effects.sparse import copy_onto, copy_sparse

    source, artifact = shop.path(outcome, f"disk/{profile}", "disk.img")
    if target.is_block_device():
        with no_space_named(target, artifact.size):
            copy_onto(source, target)
        return
    if target.exists() and shop.stats.digest(target) == artifact.digest:
        return
    with no_space_named(target, artifact.size), replacing(target) as temporary:
        copy_sparse(source, temporary)
    shop.stats.remember(target, artifact.digest)


def _deliver_parts(shop: Workshop, outcome: Outcome, profile: str, *, named: bool) -> dict[str, Any]:
    """Shows the store's parts, `named` under names: links, so they cost nothing and stay read-only."""
    folder = shop.session.root / "build" / "parts" / profile
    folder.mkdir(parents=True, exist_ok=True)
    parts = {}
    for action, (output, name) in PARTS.items():
        full = action if action in {"kernel", "kernel-forms"} else f"{action}/{profile}"
        source, artifact = shop.path(outcome, full, output)
        place = folder / name if named else source
        if named and not (place.exists() and place.samefile(source)):
            place.unlink(missing_ok=True)
            os.link(source, place)
        parts[name] = {"path": str(place), "sha256": artifact.digest, "size": artifact.size}
    return parts


def _describe(shop: Workshop, outcome: Outcome, profile: Profile, target: Path, parts: dict[str, Any],
              access: Access) -> dict[str, Any]:
    """The document that `image --json` prints."""
    from swiftbuild.core.accounts import built_in
    from swiftbuild.effects import project

    def read(action: str, output: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(shop.path(outcome, action, output)[0].read_text())
        return loaded

    _, artifact = shop.path(outcome, f"disk/{profile.name}", "disk.img")
    logins = built_in(profile, access)
    first = next(iter(logins.items()), None)
    document = {
        "path": str(target), "sha256": artifact.digest, "size": artifact.size, "profile": profile.name,
        "version": project.version(shop.session.root), "dev": profile.dev,
        "login": {"user": first[0], "password": first[1][0]} if first else None,
        "logins": {user: password for user, (password, _) in logins.items()},
        "disk": read(f"disk/{profile.name}", "disk.json"), "slot": read(f"slot/{profile.name}", "slot.json"),
        "parts": parts, "root_keys": [root.key.hex() for root in shop.signer.roots.keys],
        "packages": [read(ref.action, ref.output) for ref in sorted(outcome.artifacts, key=str)
                     if ref.output == "package.json"],
        "ran": list(outcome.ran),
    }
    if profile.rescue_device:
        source, packed = shop.path(outcome, f"compressed/{profile.name}", "disk.img.zst")
        place = _compressed(target)
        if not target.is_block_device():
            if not (place.exists() and place.samefile(source)):
                place.unlink(missing_ok=True)
                _link_or_copy(source, place)
            document["compressed"] = {"path": str(place), "sha256": packed.digest, "size": packed.size,
                                      "rescue_command": f"zstd -dc {place} | ssh root@ADDRESS "
                                      f"'dd of={profile.rescue_device} bs=4M conv=fsync && reboot'"}
    return document


def _link_or_copy(source: Path, place: Path) -> None:
    import shutil

    try:
        os.link(source, place)
    except OSError:  # another file system
        shutil.copyfile(source, place)


def _told(document: dict[str, Any], root: Path) -> str:
    """The result for a person: what there is, who can log in, how to boot it."""
    slot = document["slot"]
    lines = [
        f"image    {document['path']}",
        f"size     {document['size'] >> 20} MiB (sparse)",
        f"sha256   {document['sha256']}",
        f"slot a   {document['version']}, {slot['size'] >> 10} KiB, release {slot['release_digest'][:16]}",
        "slot b   empty",
    ]
    if document["logins"]:
        named = ", ".join(f"{user} / {password}" for user, password in document["logins"].items())
        lines.append(f"login    {named}  (dev image: built-in passwords)")
    else:
        lines.append("login    no built-in passwords")
    path = Path(document["path"])
    usual = path == root / "build" / "images" / f"{document['profile']}.img"
    place = path.relative_to(root) if path.is_relative_to(root) else path
    machine = f"--profile {document['profile']}" if usual else str(place)
    lines += ["", f"boot it:           {root.name}$ ./swiftbuild run {machine}",
              "from any folder:   " f'export PATH="{root}:$PATH"; swiftbuild image --profile {document["profile"]}']
    if "compressed" in document:
        packed = document["compressed"]
        lines += ["", f"compressed         {packed['path']} ({packed['size'] >> 10} KiB)",
                  "write it from a Hetzner rescue system (everything on the server's disk is lost):",
                  f"  {packed['rescue_command']}",
                  "It was tested on a model of the device (QEMU with UEFI, ACPI and GICv3), not on the real machine."]
    return "\n".join(lines)
