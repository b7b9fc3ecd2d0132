"""A recipe: how one package gets its files (packages/NAME/recipe.toml), and the lock of packages taken from Debian."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from swiftbuild.model.written import AbsolutePath, Mode, Name, Sha256, Written

SourcePath = Annotated[str, Field(pattern=r"\A(?!/)(?!.*(?:\A|/)\.\.(?:/|\Z))[^\0]+\Z", max_length=1024)]
"""Relative: a binary's name, a file beside the recipe, or a path inside the Debian package."""


class TreeSource(Written):
    """Built from this tree by cargo; `binaries` empty: only files beside the recipe."""

    kind: Literal["tree"]
    crate: Name | None = None
    binaries: tuple[Name, ...] = ()


class DebianSource(Written):
    """Taken from a Debian arm64 package, checked against packages/lock.toml."""

    kind: Literal["debian"]
    package: Name


class FileRule(Written):
    """One file of the image. `from` is a binary of the source, else a file beside the recipe."""

    source: SourcePath = Field(alias="from")
    to: AbsolutePath
    mode: Mode = "0644"
    owner: Name = "root"
    group: Name = "root"


class LinkRule(Written):
    """One symbolic link."""

    path: AbsolutePath
    target: Annotated[str, Field(min_length=1, max_length=1024)]


class DirectoryRule(Written):
    """A directory whose mode or owner is not the usual 0755 root."""

    path: AbsolutePath
    mode: Mode = "0755"
    owner: Name = "root"
    group: Name = "root"


class ServiceRule(Written):
    """A service file beside the recipe; it goes to /etc/services.d."""

    source: SourcePath = Field(alias="from")


class Recipe(Written):
    """One recipe file."""

    name: Name
    summary: Annotated[str, Field(min_length=1, max_length=120)]
    license: Annotated[str, Field(min_length=1, max_length=120)]
    source: Annotated[TreeSource | DebianSource, Field(discriminator="kind")]
    requires: tuple[Name, ...] = ()
    """Packages that come with it into every image."""
    file: tuple[FileRule, ...] = ()
    link: tuple[LinkRule, ...] = ()
    directory: tuple[DirectoryRule, ...] = ()
    service: tuple[ServiceRule, ...] = ()


class LockedPackage(Written):
    """The one version of a Debian package that an image takes."""

    version: Annotated[str, Field(pattern=r"\A[A-Za-z0-9.+:~-]+\Z", max_length=128)]
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]


class PackageLock(Written):
    """packages/lock.toml."""

    debian: dict[Name, LockedPackage] = Field(default_factory=dict)
