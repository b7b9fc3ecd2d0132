"""`swiftbuild doctor`: every tool, found, wanted and how to get it."""

from __future__ import annotations

import typer

from swiftbuild.cli.session import Session, command


@command
def doctor(session: Session) -> None:
    """List every tool that swiftbuild uses: found, wanted, fix.

    Exit status 0 when all are there, 4 when one is missing or too old.
    """
    from swiftbuild.core.tools import TOOLS, judge
    from swiftbuild.effects.tools import probe

    verdicts = [judge(tool, probe(tool)) for tool in TOOLS]
    rows = [
        f"{'ok' if v.ok else 'MISSING' if v.found is None else 'TOO OLD':8} {v.tool.name:18} "
        f"{v.found or '-':14} wanted {v.tool.lowest} to {v.tool.highest}{'  ' + v.note if v.note else ''}"
        for v in verdicts
    ]
    document = {
        "ok": all(v.ok for v in verdicts),
        "tools": [
            {"name": v.tool.name, "path": v.tool.path, "found": v.found, "lowest": v.tool.lowest,
             "highest_tested": v.tool.highest, "ok": v.ok, "fix": v.note}
            for v in verdicts
        ],
    }
    session.result(document, "\n".join(rows))
    if not document["ok"]:
        raise typer.Exit(4)
