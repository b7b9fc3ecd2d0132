"""`swiftbuild clean`."""

from __future__ import annotations

import contextlib
import shutil
from typing import Annotated

import typer

from swiftbuild.cli.session import Session, command

BUILT = ("images", "parts", "work", "artifacts")
CACHE = ("store", "target", "cargo", "apt", "stat-cache.json", "verify")


MACHINES = "machines"


@command
def clean(
    session: Session,
    cache: Annotated[
        bool, typer.Option("--cache", help="Also the cache: store, compiler folders, downloads, what verify keeps.")
    ] = False,
    machines: Annotated[
        bool, typer.Option("--machines", help="Also the machines of 'run --persist', with all files on their disks.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what was built. Without --cache the next build is quick again.

    Machines that 'run --persist' keeps stay, unless --machines names them too.
    """
    from swiftbuild.cli.progress import reporter
    from swiftbuild.effects.lock import exclusive
    from swiftbuild.effects.store import tree_size
    from swiftbuild.machine.persistent import owned

    build = session.root / "build"
    kept = sorted((build / MACHINES).glob("*/"))
    going = [build / name for name in (*BUILT, *(CACHE if cache else ()), *((MACHINES,) if machines else ()))]
    rows = []
    with exclusive(build / "lock", reporter(session.verbosity)), contextlib.ExitStack() as stack:
        for machine in kept if machines else ():
            stack.enter_context(owned(machine))
        for path in going:
            if not path.exists():
                continue
            size = tree_size(path) if path.is_dir() else path.stat().st_size
            rows.append({"path": str(path), "bytes": size})
            if not dry_run:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    verb = "would free" if dry_run else "freed"
    stays = [] if machines else [str(machine) for machine in kept]
    text = [*(f"  {row['path']}" for row in rows), f"{verb} {sum(int(str(row['bytes'])) for row in rows) >> 20} MiB"]
    if stays:
        text += ["kept, with the files on their disks:", *(f"  {name}" for name in stays),
                 "they go with: swiftbuild clean --machines"]
    session.result({"removed": rows, "kept": stays, "dry_run": dry_run}, "\n".join(text))
