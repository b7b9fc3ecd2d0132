"""The vectors of key sets and of who signed a release: see README.md. Shares no code with the readers that it tests."""

import hashlib
import struct
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.generate import case, changed, release_area, signature, signature_area, write

SEEDS = {name: hashlib.sha256(b"vector " + name.encode()).digest() for name in (
    "root1", "root2", "root3", "other", "release1", "release2", "release3", "evidence")}  # fmt: skip
RELEASE, PACKAGES, EVIDENCE = 2, 4, 8
SPKI = bytes.fromhex("302a300506032b6570032100")


def public(name: str) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(SEEDS[name]).public_key().public_bytes_raw()


def key_id(name: str) -> bytes:
    return hashlib.sha256(SPKI + public(name)).digest()


def signed_by(name: str, message: bytes, algorithm: int = 1, identity: bytes = b"") -> bytes:
    value = Ed25519PrivateKey.from_private_bytes(SEEDS[name]).sign(message)
    return struct.pack("<HHI32s", algorithm, 0, 64, identity or key_id(name)) + value


def key_row(name: str, roles: int, **fields: Any) -> bytes:
    value = {"algorithm": 1, "length": 32, "roles": roles, "id": key_id(name), "key": public(name), "reserved": 0, **fields}
    return struct.pack("<HHI32s80sQ", *value.values())


KEYS = (("release1", RELEASE), ("release2", RELEASE | EVIDENCE), ("release3", RELEASE), ("evidence", EVIDENCE))
ROLES = ((1, 2, 0), (3, 1, 0))
KEY_ROWS = tuple(key_row(name, roles) for name, roles in KEYS)


def key_set(
    signers: tuple[str, ...] = ("root1", "root2"), keys: tuple[bytes, ...] = KEY_ROWS,
    roles: tuple[tuple[int, int, int], ...] = ROLES, domain: bytes = b"swift-os/key-set/v1\0", count: int | None = None,
    tail: bytes = b"", rows: tuple[bytes, ...] | None = None, **fields: Any,
) -> bytes:  # fmt: skip
    value = {
        "magic": b"SWKEYSET", "major": 1, "minor": 0, "length": 64 + 16 * len(roles) + 128 * len(keys), "version": 3,
        "signed_at": 1_790_000_000, "expires": 0, "flags": 0, "roles": len(roles), "keys": len(keys), "reserved": bytes(16), **fields,
    }  # fmt: skip
    signed = struct.pack("<8sHHIQQQIHH16s", *value.values()) + b"".join(struct.pack("<IIQ", *role) for role in roles) + b"".join(keys)
    message = domain + hashlib.sha256(signed).digest()
    rows = tuple(signed_by(name, message) for name in signers) if rows is None else rows
    return signed + struct.pack("<II", len(rows) if count is None else count, 0) + b"".join(rows) + tail


def trust() -> None:
    def image(
        signers: tuple[str, ...] = ("release1", "release3"), keys: bytes | None = None, domain: bytes = b"swift-os/release-header/v1\0",
        rows: tuple[bytes, ...] | None = None, **fields: Any,
    ) -> bytes:  # fmt: skip
        fields = {"critical": 0, "optional": 0, **fields}
        message = domain + hashlib.sha256(release_area(**fields)[:4096]).digest()
        made = tuple(signed_by(name, message) for name in signers) if rows is None else rows
        return release_area(signatures=signature_area(key_set() if keys is None else keys, made), **fields)

    base = image()
    good = b"swift-os/release-header/v1\0" + hashlib.sha256(base[:4096]).digest()

    def one(name: str, expect: str, *args: Any, **fields: Any) -> dict[str, object]:
        return case(name, expect, changed(base, image(*args, **fields)))

    def keyed(name: str, expect: str, *args: Any, **fields: Any) -> dict[str, object]:
        return one(name, expect, keys=key_set(*args, **fields))

    cases = [
        case("good", "ok"),
        one("all three", "ok", ("release1", "release2", "release3")),
        one("in another order", "ok", ("release3", "release1")),
        one("one of two", "release", ("release1",)),
        one("nobody", "release", ()),
        one("the same key twice", "release", ("release1", "release1")),
        one("two and a stranger", "ok", ("other", "release1", "release2")),
        one("one and a stranger", "release", ("other", "release1")),
        one("one and a key of another role", "release", ("evidence", "release1")),
        one("root signs no release", "release", ("root1", "root2")),
        one("under another domain", "release", domain=b"swift-os/key-set/v1\0"),
        one("under no domain", "release", domain=b""),
        one("an algorithm that is not the key's", "release", rows=(signed_by("release1", good), signed_by("release2", good, algorithm=2))),
        one("an unknown algorithm between", "ok", rows=(signed_by("release1", good), signature(9, 3), signed_by("release2", good))),
        one("a signature under another's id", "release", rows=(signed_by("release1", good), signed_by("release2", good, identity=key_id("release3")))),
        one("a wrong and a right one by one key", "ok", rows=(signed_by("release1", b"x"), signed_by("release1", good), signed_by("release2", good))),
        one("a signature of 63 bytes", "release", rows=(signed_by("release1", good), struct.pack("<HHI32s64s", 1, 0, 63, key_id("release2"), bytes(64)))),
        one("a signature of no bytes", "release", rows=(signed_by("release1", good), struct.pack("<HHI32s", 1, 0, 0, key_id("release2")))),
        case("another rollback index", "release", changed(base, base[:112] + struct.pack("<Q", 8) + base[120:])),
        one("an empty signature area", "key-set", (), b""),
        one("a release marked dev under a set that is not", "ok", critical=1),
        one("a dev set, and a release marked dev", "ok", keys=key_set(flags=1), critical=1),
        one("a dev set, and a release not marked", "unmarked", keys=key_set(flags=1)),
        keyed("all of root", "ok", ("root3", "root2", "root1")),
        keyed("one of root", "root", ("root1",)),
        keyed("one of root twice", "root", ("root1", "root1")),
        keyed("one of root and a stranger", "root", ("root1", "other")),
        keyed("its own keys do not sign a set", "root", ("release1", "release2")),
        keyed("a set signed under another domain", "root", domain=b"swift-os/release-header/v1\0"),
        keyed("a set that says nothing of releases", "no-role", keys=(key_row("release1", EVIDENCE),), roles=((3, 1, 0),)),
        keyed("one key is enough", "ok", roles=((1, 1, 0), (3, 1, 0))),
        keyed("three must sign", "release", roles=((1, 3, 0), (3, 1, 0))),
        keyed("newer minor", "ok", minor=1, reserved=b"\1" * 16),
        keyed("a role that we do not know", "ok", keys=(*KEY_ROWS, key_row("other", 1 << 7)), roles=(*ROLES, (7, 1, 0))),
        keyed("a key of an algorithm that we do not know", "ok", keys=(*KEY_ROWS, key_row("other", RELEASE, algorithm=9, length=80, key=b"k" * 80))),
        keyed("magic of the set", "key-set", magic=b"SWKEYSEX"),
        keyed("major 2 of the set", "key-set", major=2),
        keyed("version 0 of the set", "key-set", version=0),
        keyed("largest version of the set", "ok", version=2**64 - 1),
        keyed("unknown flags of the set", "key-set", flags=2),
        keyed("reserved bytes of the set", "key-set", reserved=b"\1" * 16),
        keyed("reserved bytes of a role", "key-set", roles=((1, 2, 1), (3, 1, 0))),
        keyed("reserved bytes of a key", "key-set", keys=(key_row("release1", RELEASE, reserved=1), *KEY_ROWS[1:])),
        keyed("no roles", "key-set", roles=()),
        keyed("no keys", "key-set", keys=()),
        keyed("more roles than there are", "key-set", length=2**32 - 1),
        keyed("a role twice", "key-set", roles=((1, 2, 0), (1, 1, 0), (3, 1, 0))),
        keyed("role 0", "key-set", roles=((1, 2, 0), (0, 1, 0), (3, 1, 0))),
        keyed("role 32", "key-set", roles=((1, 2, 0), (32, 1, 0), (3, 1, 0))),
        keyed("a role that wants nobody", "key-set", roles=((1, 0, 0), (3, 1, 0))),
        keyed("a role that wants more than there are", "key-set", roles=((1, 4, 0), (3, 1, 0))),
        keyed("a key twice", "key-set", keys=(*KEY_ROWS, KEY_ROWS[0])),
        keyed("a key without a role", "key-set", keys=(*KEY_ROWS, key_row("other", 0))),
        keyed("a key of a role that is not named", "key-set", keys=(*KEY_ROWS, key_row("other", PACKAGES))),
        keyed("a key under another's id", "key-set", keys=(*KEY_ROWS, key_row("other", RELEASE, id=key_id("root1")))),
        keyed("a key of 31 bytes", "key-set", keys=(*KEY_ROWS, key_row("other", RELEASE, length=31))),
        keyed("a key with bytes behind it", "key-set", keys=(*KEY_ROWS, key_row("other", RELEASE, key=public("other") + b"x"))),
        keyed("a key of 81 bytes", "key-set", keys=(*KEY_ROWS, key_row("other", RELEASE, algorithm=9, length=81))),
        keyed("a key of no bytes", "key-set", keys=(*KEY_ROWS, key_row("other", RELEASE, algorithm=9, length=0))),
        keyed("a set without signatures", "key-set", ()),
        keyed("nine signatures of a set", "key-set", ("root1",) * 9),
        keyed("more signatures than bytes", "key-set", count=3),
        keyed("bytes behind the set's signatures", "key-set", tail=bytes(8)),
        one("a set that ends in its head", "key-set", keys=key_set()[:60]),
        one("a set that ends in its keys", "key-set", keys=key_set()[:400]),
        one("a set that ends before its signatures", "key-set", keys=key_set()[: 64 + 32 + 128 * 4]),
    ]  # fmt: skip
    write("trust", base, cases, roots=[public(name).hex() for name in ("root1", "root2", "root3")], threshold=2)
