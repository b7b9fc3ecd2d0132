"""The page of results as text: a section for each part, and what stands above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HEAD = """\
# Benchmarks

Written by `make bench`; `python -m tests.bench boots` measures one part anew and keeps the others. Instructions
repeat; seconds are the host's at that moment, and emulated. Boots are counted from the event `kernel.entry`.

Where not said otherwise, the Linux figures are Debian 12's Linux 6.1 (`linux-image-6.1.0-56-cloud-arm64`, default
mitigations) on the same QEMU 7.2 boards, median of 5: BusyBox as init from an uncompressed initramfs of 2.9 MB,
`quiet`, until it prints that it is ready; 10⁶ ns of guest time under `-icount shift=0,sleep=off` from the start of the
kernel's clock; memory is RAM - MemFree of 1 GiB. About half of its instructions are the crypto self-tests (340 without
them, on 1 CPU).

"""


def sections(page: str) -> dict[str, str]:
    """The sections of a page by their names in small letters."""
    found = page.split("\n## ")[1:]
    return {text.split("\n", maxsplit=1)[0].lower(): f"## {text.rstrip()}\n" for text in found}


def dated(section: str, when: str) -> str:
    """A section that says when it was measured."""
    return section.replace("\n", f"\n\nMeasured {when}.\n", 1)


def page(parts: Mapping[str, str]) -> str:
    """The whole page; a part without a section is left out."""
    return HEAD + "\n".join(filter(None, parts.values()))


def table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], note: str = "") -> str:
    """A section of the page."""
    lines = [f"## {title}", "", *([note, ""] if note else [])]
    lines += ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join([*lines, ""])
