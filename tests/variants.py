"""Variants as the tests of this tree use them: signed by the throw-away keys that its images are built with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from swiftbuild.effects.keys import KeyFolder
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.variants import Sections, esp_only, installed, one_file_boot, slot_image, with_area

__all__ = ["esp_only", "installed", "one_file_boot", "rebuilt", "signed", "slot_image", "with_area", "with_files",
           "with_other_loader"]
DEV = KeyFolder(Path(__file__).resolve().parents[1] / "keys" / "dev")


def signed(raw: bytes, keys: Path = DEV.path) -> bytes:
    """The slot image, signed by the keys of a folder."""
    return variants.signed(raw, KeyFolder(keys))


def rebuilt(raw: bytes, changes: Sections, **told: object) -> bytes:
    """The slot image with other sections and facts, signed."""
    return signed(variants.rebuilt(raw, changes, **told))


def with_files(raw: bytes, folder: Path, files: Mapping[str, str], **told: object) -> bytes:
    """The slot image with these files in its base, signed."""
    return signed(variants.with_files(raw, folder, files, **told))


def with_other_loader(raw: bytes) -> bytes:
    """The slot image with a loader that does the same and has other bytes, signed."""
    return signed(variants.with_other_loader(raw))
