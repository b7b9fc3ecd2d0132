"""Who may sign, and what is refused whoever signed: none of it needs more than one boot, but for keys that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swiftbuild.core import keysets
from swiftbuild.core.keysets import Change
from swiftbuild.effects.keys import NO_KEY_SET, FolderKey, KeyFolder, sign
from swiftbuild.errors import InputError
from swiftbuild.model.release import Section, SectionType, SignatureArea
from swiftbuild.model.signing import KeySet, Quorum, Role, Roots, Signature
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.expect import require, require_in
from swiftbuild.scenarios.failing import BREAK, LATE_IN_BOOT, TRIES
from swiftbuild.scenarios.updating import INSTALL_SECONDS
from swiftbuild.wire import keyset, release

EXPIRES = 2_000_000_000
"""Of a key set: 2033-05-18."""
LATER = "2035-01-01T12:00:00"
"""What a clock shows then."""


def refusals(bench: Bench) -> None:
    """Each with its own class, and nothing that counts is changed; then the good one is taken."""
    good = bench.new
    machine = bench.machine()
    with machine.running_from("a", bench.before.version) as person:
        machine.counted(person)
        before = machine.status(person)
        for raw, why in _cases(bench).values():
            machine.swap(person, raw)
            machine.refused(person, why)
            require("slot that boots next", machine.status(person)["next"], "a")
        after = machine.status(person)
        require("status but for slot b", _without_b(after), _without_b(before))
        machine.swap(person, good)
        machine.install(person)
        machine.cut()


def _without_b(status: dict[str, Any]) -> dict[str, Any]:
    return {**status, "slots": status["slots"]["a"]}


def _cases(bench: Bench) -> dict[str, tuple[bytes, str]]:
    """What must be refused → the release, and the class of the refusal, where it has one."""
    good, header = bench.new, bench.after
    flipped = {name: _flipped(good, header.section(kind)) for name, kind in (
        ("kernel", SectionType.KERNEL), ("erofs", SectionType.EROFS), ("verity", SectionType.VERITY))}
    keys = _keys(bench)
    pair = KeyFolder(bench.aside("pair"))
    people = [pair.make("release", name, None) for name in ("alice", "bob")]
    theirs = Change(Role.RELEASE, tuple(key.public for key in people), _ids(keys), threshold=2)
    one = _by(bench, good, theirs, lambda message: (sign(people[0], message, _nothing),))
    twice = _by(bench, good, theirs, lambda message: (sign(people[0], message, _nothing),) * 2)
    return {
        "threshold": (one, "release"),
        "the same key twice": (twice, "release"),
        "another root": (variants.signed(good, bench.stranger("stranger")), "root"),
        "expired": (_by(bench, good, Change(Role.RELEASE, expires=1), lambda message: _own(keys, message)), "expired"),
        "keys of the desk over what is not marked": (bench.next(flags_critical=0), "unmarked"),
        "profile": (bench.next(profile="another"), "profile"),
        "floor": (bench.next(rollback_index=bench.before.rollback_index - 1), "below-floor"),
        "downgrade": (bench.next(version="0.0.1"), "downgrade"),
        "same": (bench.old, "same"),
        "unsigned": (good[: release.HEADER_SIZE].ljust(len(good), b"\0"), "signature-area"),
        "header": (bytes([*good[:200], good[200] ^ 1, *good[201:]]), "release"),
        **{f"bit in {name}": (raw, "failed") for name, raw in flipped.items()},
        "truncated": (good[: len(good) // 2], "failed"),
    }


def rotated_and_given_up(bench: Bench) -> None:
    """The next release comes under a key set in which the old release key is revoked, and panics: the old release, by
    the revoked key, boots again, for no floor rose."""
    keys = _keys(bench)
    fresh = KeyFolder(bench.aside("fresh")).make("release", "fresh", None)
    broken = variants.with_code(bench.new, LATE_IN_BOOT, BREAK)
    change = Change(Role.RELEASE, (fresh.public,), _ids(keys))
    machine = bench.on_trial(_by(bench, broken, change, lambda message: (sign(fresh, message, _nothing),)))
    for _ in range(TRIES):
        with machine.fails("b", bench.after.version):
            machine.event("kernel.panic")
    with machine.running_from("a", bench.before.version) as person:
        b = machine.slot(person, "b")
        require("slot b", (b["state"], b["reason"]), ("unbootable", "tries-used-up"))
        machine.cut()


def rotated_and_kept(bench: Bench) -> None:
    """The next release comes under a key set in which the old release key is revoked, and is good: once it is
    committed, what the revoked key signed is refused."""
    keys = _keys(bench)
    fresh = KeyFolder(bench.aside("fresh")).make("release", "fresh", None)
    change = Change(Role.RELEASE, (fresh.public,), _ids(keys))
    machine = bench.on_trial(_by(bench, bench.new, change, lambda message: (sign(fresh, message, _nothing),)))
    with machine.running_from("b", bench.after.version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        person.output("update commit", seconds=INSTALL_SECONDS)
        major, minor, patch = bench.after.version.split(".")
        later = bench.next(version=f"{major}.{minor}.{int(patch) + 1}")
        machine.swap(person, later)
        machine.refused(person, "old-keys")
        machine.cut()


def keys_expired(bench: Bench) -> None:
    """By the machine's clock the key set has expired: it boots as before, says so, and takes another release under that
    set only when its operator says that the clock is wrong."""
    keys = _keys(bench)
    change = Change(Role.RELEASE, expires=EXPIRES)
    machine = bench.on_trial(_by(bench, bench.new, change, lambda message: _own(keys, message)))
    with machine.running_from("b", bench.after.version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        require("events clock.error", machine.told(person, "clock.error"), [])
        machine.stop(person, "poweroff", "guest-shutdown")
    major, minor, patch = bench.after.version.split(".")
    later = variants.told(bench.new, version=f"{major}.{minor}.{int(patch) + 1}")
    machine.insert(_by(bench, later, change, lambda message: _own(keys, message)))
    machine.set_clock(LATER)
    with machine.running_from("b", bench.after.version) as person:
        person.output("until events clock.error | grep -q expired; do sleep 1; done")
        machine.refused(person, "expired")
        person.output(f"update install --accept-expired {machine.path}", seconds=INSTALL_SECONDS)
        machine.restarts(person, "reboot")
    with machine.running_from("a", release.decode_header(later[: release.HEADER_SIZE]).version) as person:
        # an event may stand before it
        require("year", person.output("date -u +%Y").splitlines()[-1], LATER[:4])
        machine.cut()


def root_rotated(bench: Bench) -> None:
    """Root is rotated: a release whose loader trusts the root before and the new one, and whose key set both have
    signed; then one that knows the new root alone. Neither could come without the other's turn before it."""
    keys = _keys(bench)
    before = KeyFolder(keys.path).listed("root")
    fresh = KeyFolder(bench.aside("fresh")).make("root", "fresh", None)
    old, new = (Quorum(threshold=1, keys=tuple(key.public for key in of)) for of in (before, (fresh,)))
    both = _of_root(bench, bench.new, Roots(quorums=(new, old)), (fresh, *before), step=1)
    major, minor, patch = bench.after.version.split(".")
    later = variants.told(bench.new, version=f"{major}.{minor}.{int(patch) + 1}")
    alone = _of_root(bench, later, Roots(quorums=(new,)), (fresh,), step=2)
    machine = bench.machine(alone)
    with machine.running_from("a", bench.before.version) as person:
        machine.refused(person, "root")
        machine.swap(person, both)
        machine.install(person)
        machine.restarts(person, "reboot")
    with machine.running_from("b", bench.after.version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        machine.swap(person, alone)
        machine.install(person)
        machine.restarts(person, "reboot")
    version = release.decode_header(alone[: release.HEADER_SIZE]).version
    with machine.running_from("a", version) as person:
        person.output("update mark-good", seconds=INSTALL_SECONDS)
        machine.restarts(person, "reboot")
    with machine.running_from("a", version) as person:
        require("root keys of the loader", [event["root_keys"] for event in machine.events("loader.start")], ["1"])
        require_in("update verify", f"slot b: {bench.after.version}: whole",
                   person.output("update verify", seconds=INSTALL_SECONDS))
        machine.swap(person, bench.next(version=f"{major}.{minor}.{int(patch) + 2}"))
        machine.refused(person, "root")
        machine.cut()


def _of_root(bench: Bench, raw: bytes, roots: Roots, signers: tuple[FolderKey, ...], *, step: int) -> bytes:
    """The release with a loader that trusts these roots, under a key set so many versions on that these have signed."""
    keys = _keys(bench)
    known = _key_set(keys)
    known = known.model_copy(update={"version": known.version + step})
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(known)))
    key_set = keyset.encode(known, [sign(root, message, _nothing) for root in signers])
    other = variants.with_other_loader(raw, roots=roots)
    signatures = _own(keys, release.signed_message(release.release_digest(other)))
    return variants.with_area(other, SignatureArea(key_set=key_set, signatures=signatures))


def _keys(bench: Bench) -> KeyFolder:
    if bench.keys is None:
        raise ValueError("a scenario that signs, and no keys: the catalogue must say so")
    return bench.keys


def _key_set(keys: KeyFolder) -> KeySet:
    raw = keys.key_set()
    if raw is None:
        raise InputError(f"{keys.path}: no key set", hint=NO_KEY_SET)
    return keyset.decode(raw).key_set


def _ids(keys: KeyFolder) -> tuple[str, ...]:
    """Of the keys that may sign releases now."""
    return tuple(key.key_id.hex() for key in _key_set(keys).of_role(Role.RELEASE))


def _own(keys: KeyFolder, message: bytes) -> tuple[Signature, ...]:
    return tuple(sign(key, message, _nothing) for key in keys.listed("release"))


def _by(bench: Bench, raw: bytes, change: Change, by: Callable[[bytes], tuple[Signature, ...]]) -> bytes:
    """The release under the key set that follows the one in use by a change, and signed so."""
    keys = _keys(bench)
    known = keysets.following(_key_set(keys), change, signed_at=1)
    message = keyset.signed_message(keyset.digest(keyset.encode_signed(known)))
    key_set = keyset.encode(known, [sign(root, message, _nothing) for root in keys.listed("root")])
    signatures = by(release.signed_message(release.release_digest(raw)))
    return variants.with_area(raw, SignatureArea(key_set=key_set, signatures=signatures))


def _nothing(_name: str) -> bytes:
    """The passphrase of throw-away keys."""
    return b""


def _flipped(raw: bytes, section: Section | None) -> bytes:
    if section is None:
        raise InputError("the release has not the sections it must have")
    at = section.offset + section.length // 2
    return raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]
