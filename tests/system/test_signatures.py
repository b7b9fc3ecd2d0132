"""Who signed: the loader under real firmware boots what those have signed who must, and says of all else why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from swiftbuild.core import keysets
from swiftbuild.core.keysets import Change
from swiftbuild.effects.keys import KeyFolder, Terms, make_folder, sign
from swiftbuild.limits import SECTOR
from swiftbuild.machine.media import mapped
from swiftbuild.model.release import SignatureArea
from swiftbuild.model.signing import Role, Roots, Signature
from swiftbuild.scenarios.boot import booting
from swiftbuild.wire import gpt, keyset, release, rootkeys

from tests.system.conftest import BOOT_SECONDS, ROOT, image_of, spec
from tests.variants import installed, rebuilt, signed, slot_image, with_area

pytestmark = [pytest.mark.system, pytest.mark.boot_test]
MACHINE = spec("qemu", way="uefi-fdt", cpus=1)
DEV = KeyFolder(ROOT / "keys" / "dev")


def no_passphrase(_name: str) -> bytes:
    return b""


class Signers:
    """Alice, Bob and Carol, of whom two must sign, by a key set that the root of these images signed."""

    def __init__(self, folder: Path) -> None:
        folders = {name: KeyFolder(folder / name) for name in ("alice", "bob", "carol")}
        self.people = {name: place.make("release", name, None) for name, place in folders.items()}
        old = keyset.decode(DEV.key_set() or b"").key_set
        revoked = tuple(key.key_id.hex() for key in old.of_role(Role.RELEASE))
        theirs = tuple(key.public for key in self.people.values())
        known = keysets.following(old, Change(Role.RELEASE, theirs, revoked, threshold=2), signed_at=1)
        message = keyset.signed_message(keyset.digest(keyset.encode_signed(known)))
        self.key_set = keyset.encode(known, [sign(DEV.listed("root")[0], message, no_passphrase)])

    def signed(self, raw: bytes, *names: str) -> bytes:
        """The slot image with this key set, signed by these, in this order."""
        message = release.signed_message(release.release_digest(raw))
        by = [sign(self.people[name], message, no_passphrase) for name in names]
        return with_area(raw, SignatureArea(key_set=self.key_set, signatures=tuple(by)))


def altered(raw: bytes) -> bytes:
    """With a bit of the first signature changed."""
    area = release.decode_signatures(raw[release.HEADER_SIZE : release.SECTIONS_START])
    first = area.signatures[0]
    wrong = Signature(algorithm=first.algorithm, key_id=first.key_id,
                      signature=first.signature[:10] + bytes([first.signature[10] ^ 1]) + first.signature[11:])
    return with_area(raw, area.model_copy(update={"signatures": (wrong, *area.signatures[1:])}))


def refused(folder: Path) -> Mapping[str, tuple[bytes, str]]:
    """Slot images that a loader must not take, and what it says of each."""
    raw = slot_image(image_of("qemu"))
    people = Signers(folder)
    other = make_folder(folder / "other", name="", terms=Terms(dev=True, signed_at=0), passphrase=None)
    return {
        "nobody": (with_area(raw, SignatureArea()), "key set: it ends inside its head"),
        "another root": (signed(raw, other.path), "key set: signed by 0 of root's keys, 1 must"),
        "a signature that is altered": (altered(raw), "signed by 0 of the key set's keys, 1 must"),
        "one of two": (people.signed(raw, "bob"), "signed by 1 of the key set's keys, 2 must"),
        "one of two, twice": (people.signed(raw, "bob", "bob"), "signed by 1 of the key set's keys, 2 must"),
        "a dev set over what is not marked": (rebuilt(raw, {}, flags_critical=0), "not marked dev"),
    }


@pytest.mark.parametrize("pair", [("nobody", "another root"), ("a signature that is altered", "one of two"),
                                  ("one of two, twice", "a dev set over what is not marked")], ids="; ".join)
def test_what_is_not_signed_by_those_who_must_is_not_booted(pair: tuple[str, str], tmp_path: Path) -> None:
    slots = refused(tmp_path)
    a, b = (slots[name] for name in pair)
    disk = installed(image_of("qemu"), tmp_path / "disk.img", a[0], b[0])
    with booting(MACHINE, disk, folder=tmp_path) as running:
        running.console.event("loader.error", what="boot", seconds=BOOT_SECONDS)
        errors = {event.get("where"): event for event in running.console.events if event.name == "loader.error"}
        for where, (_, why) in (("a", a), ("b", b)):
            assert errors[where].get("what") == "signature"
            assert why in errors[where].get("why")
            assert f"slot {where}: " in running.console.text
        assert not any(event.name == "kernel.entry" for event in running.console.events)


def with_roots(disk: Path, roots: Roots) -> Path:
    """The disk image, the loaders on whose ESP are held to other root keys. No signature covers them."""
    with mapped(disk) as data:
        esp = gpt.read(data).named("esp")
        assert esp
        places = [esp.first * SECTOR + at for at in rootkeys.places(data[esp.first * SECTOR : (esp.last + 1) * SECTOR])]
    assert len(places) == 2
    with disk.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(rootkeys.encode(roots))
    return disk


def test_two_of_root_must_have_signed_the_key_set(tmp_path: Path) -> None:
    other = KeyFolder(tmp_path / "other").make("root", "other", None)
    both = (DEV.listed("root")[0], other)
    raw, old = slot_image(image_of("qemu")), keyset.decode(DEV.key_set() or b"")
    message = keyset.signed_message(old.digest)
    signature = signed(raw)[release.HEADER_SIZE : release.SECTIONS_START]
    area = release.decode_signatures(signature)
    key_set = keyset.encode(old.key_set, [sign(root, message, no_passphrase) for root in both])
    good = with_area(raw, area.model_copy(update={"key_set": key_set}))
    roots = Roots.of([root.public for root in both], 2)
    disk = with_roots(installed(image_of("qemu"), tmp_path / "disk.img", signed(raw), good), roots)
    with booting(MACHINE, disk, folder=tmp_path) as running:
        running.console.event("loader.slot", slot="b", seconds=BOOT_SECONDS)
        error = next(event for event in running.console.events if event.name == "loader.error")
        assert (error.get("where"), error.get("what")) == ("a", "signature")
        assert "signed by 1 of root's keys, 2 must" in error.get("why")
        running.console.event("kernel.entry", seconds=BOOT_SECONDS)


def test_two_of_three_have_signed(tmp_path: Path) -> None:
    raw = Signers(tmp_path).signed(slot_image(image_of("qemu")), "carol", "alice")
    disk = installed(image_of("qemu"), tmp_path / "disk.img", raw)
    with booting(MACHINE, disk, folder=tmp_path) as running:
        running.console.event("loader.slot", slot="a", seconds=BOOT_SECONDS)
        running.console.event("kernel.entry", seconds=BOOT_SECONDS)
