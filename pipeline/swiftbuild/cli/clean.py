"""`swiftbuild clean`."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from swiftbuild.cli.session import Session, command

BUILT = ("images", "parts", "work", "machines", "artifacts")
CACHE = ("store", "target", "cargo", "apt", "stat-cache.json")


@command
def clean(
    session: Session,
    cache: Annotated[bool, typer.Option("--cache", help="Also the cache: store, compiler folders, downloads.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what was built. Without --cache the next build is quick again."""
    from swiftbuild.cli.progress import reporter
    from swiftbuild.effects.lock import exclusive
    from swiftbuild.effects.store import tree_size

    build = session.root / "build"
    rows = []
    with exclusive(build / "lock", reporter(session.verbosity)):
        for name in (*BUILT, *(CACHE if cache else ())):
            path = build / name
            if not path.exists():
                continue
            size = tree_size(path) if path.is_dir() else path.stat().st_size
            rows.append({"path": str(path), "bytes": size})
            if not dry_run:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    verb = "would free" if dry_run else "freed"
    session.result({"removed": rows, "dry_run": dry_run},
                   "\n".join([*(f"  {row['path']}" for row in rows),
                              f"{verb} {sum(int(str(row['bytes'])) for row in rows) >> 20} MiB"]))
