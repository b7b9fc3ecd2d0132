"""What a scenario is given: a machine of its profile, the release that it starts with, the one that follows, and keys
for what is to go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from swiftbuild.effects.keys import KeyFolder, Terms, make_folder
from swiftbuild.machine.spec import Spec
from swiftbuild.model.release import ReleaseHeader
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.updating import Updating
from swiftbuild.wire import release


@dataclass(frozen=True)
class Bench:
    """Of one run. `image` is a disk with `old` in slot A; nothing here is written to but `folder`."""

    spec: Spec
    folder: Path
    image: Path
    old: bytes
    new: bytes
    password: str
    """root's, at the console."""
    keys: KeyFolder | None = None
    """Throw-away keys whose releases this machine takes; None: those of the release are not throw-away."""
    tell: Callable[[str], None] = print

    @cached_property
    def before(self) -> ReleaseHeader:
        """The header of the release that the machine starts with."""
        return release.decode_header(self.old[: release.HEADER_SIZE])

    @cached_property
    def after(self) -> ReleaseHeader:
        """The header of the one that follows."""
        return release.decode_header(self.new[: release.HEADER_SIZE])

    def machine(self, contents: bytes | None = None, *, image: Path | None = None, watchdog: bool = False) -> Updating:
        """The machine, with `contents` (else the release that follows) on the medium."""
        spec = replace(self.spec, watchdog=watchdog)
        machine = Updating(spec, image or self.image, self.folder, password=self.password, tell=self.tell)
        machine.insert(contents or self.new)
        return machine

    def on_trial(self, contents: bytes | None = None) -> Updating:
        """The machine, off, with `contents` (else the release that follows) in slot B, to be tried."""
        machine = self.machine(contents)
        with machine.running_from("a", self.before.version) as person:
            machine.install(person)
            machine.restarts(person, "reboot")
        return machine

    def signed(self, raw: bytes) -> bytes:
        """A release, signed as those that this machine takes."""
        if self.keys is None:
            raise ValueError("a scenario that signs, and no keys: the catalogue must say so")
        return variants.signed(raw, self.keys)

    def next(self, **facts: object) -> bytes:
        """What follows, with other facts in its header."""
        return self.signed(variants.told(self.new, **facts))

    def with_code(self, function: str, code: bytes) -> bytes:
        """What follows, with a kernel function that begins with other instructions."""
        return self.signed(variants.with_code(self.new, function, code))

    def with_files(self, files: Mapping[str, str]) -> bytes:
        """What follows, with these files in its base."""
        return self.signed(variants.with_files(self.new, self.aside("variant"), files))

    def aside(self, name: str) -> Path:
        """A new folder for this run."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def installed(self, a: bytes, b: bytes | None = None) -> Path:
        """A disk with these in its slots, both recorded as good, A first."""
        return variants.installed(self.image, self.folder / "installed.img", a, b)

    def stranger(self, name: str) -> KeyFolder:
        """Keys of somebody else's root."""
        return make_folder(self.folder / name, name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
