"""What must not leave the desk: each thing is found in the bytes of a release, and nothing in one that is clean."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from swiftbuild.core.policy import Known, objections
from swiftbuild.wire import release

from tests.fakes import FakeSigner
from tests.images import Parts, build_slot, make_loader, parts

DEV = Ed25519PrivateKey.from_private_bytes(b"d" * 32)
DEV_PUBLIC = DEV.public_key().public_bytes_raw()
KNOWN = Known(FakeSigner(1).roots, ("guest", "swift"), (DEV_PUBLIC,))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return replace(parts(tmp_path_factory.mktemp("policy")), dev=False)


def found(given: Parts, files: dict[str, bytes], name: str) -> set[tuple[str, str]]:
    """(where, code) of everything that a base with these files gives."""
    root = given.folder / f"root-{name}"
    for path, data in {"etc/motd": b"welcome\n", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    raw = (build_slot(replace(given, root=root), name) / "slot").read_bytes()
    return {(one.where, one.code) for one in objections(release.read_slot(raw), KNOWN)}


def hashed(password: str) -> bytes:
    return subprocess.run(["/usr/bin/openssl", "passwd", "-6", "-salt", "another", password], check=True,
                          capture_output=True).stdout.strip()


def pem(key: Ed25519PrivateKey, kind: form.PrivateFormat = form.PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption())


def shadow(field: bytes) -> dict[str, bytes]:
    return {"etc/shadow": b"root:" + field + b":20000:0:99999:7:::\nnobody:!:20000:0:99999:7:::\n"}


CLEAN: dict[str, Callable[[], dict[str, bytes]]] = {
    "nothing": dict,
    "locked accounts": lambda: shadow(b"!"),
    "a password of its own": lambda: shadow(hashed("correct horse")),
    "who may log in": lambda: {"root/.ssh/authorized_keys": b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@example.org\n"},
    "a program that reads keys": lambda: {
        "usr/bin/ssh": b"\0-----BEGIN %s-----\n\0-----END %s-----\n\0" % ((b"OPENSSH PRIVATE KEY",) * 2)},
    "a public host key": lambda: {"etc/ssh/ssh_host_ed25519_key.pub": b"ssh-ed25519 AAAAC3Nz\n"},
}  # fmt: skip
BAD: dict[str, tuple[Callable[[], dict[str, bytes]], set[tuple[str, str]]]] = {
    "built-in password": (lambda: shadow(hashed("swift")), {("/etc/shadow", "built-in-password")}),
    "built-in password in passwd": (lambda: {"etc/passwd": b"guest:" + hashed("guest") + b":1000:1000::/:/bin/sh\n"},
                                    {("/etc/passwd", "built-in-password")}),
    "no password at all": (lambda: shadow(b""), {("/etc/shadow", "no-password")}),
    "host key of SSH": (lambda: {"etc/ssh/ssh_host_ed25519_key": pem(DEV, form.PrivateFormat.OpenSSH)},
                        {("/etc/ssh/ssh_host_ed25519_key", "ssh-host-key")}),
    "host key under another name": (lambda: {"etc/key": pem(DEV, form.PrivateFormat.OpenSSH)},
                                    {("/etc/key", "ssh-host-key")}),
    "host key of another server": (lambda: {"etc/dropbear/dropbear_ed25519_host_key": b"\0\0\0\x0b"},
                                   {("/etc/dropbear/dropbear_ed25519_host_key", "ssh-host-key")}),
    "private key": (lambda: {"etc/tls/key.pem": b"text\n" + pem(DEV)}, {("/etc/tls/key.pem", "private-key")}),
    "throw-away key, raw": (lambda: {"etc/keys": b"abc" + DEV_PUBLIC}, {("/etc/keys", "dev-key")}),
    "throw-away key in PEM": (lambda: {"etc/keys/root.pub": DEV.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)}, {("/etc/keys/root.pub", "dev-key")}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_may_be_there_is_no_objection(given: Parts, name: str) -> None:
    assert found(given, CLEAN[name](), name) == set()


@pytest.mark.parametrize("name", BAD)
def test_what_must_not_leave_is_found(given: Parts, name: str) -> None:
    files, wanted = BAD[name]
    assert found(given, files(), name) == wanted


def test_a_release_that_is_marked_dev_is_found(given: Parts) -> None:
    assert found(replace(given, dev=True), {}, "dev") == {("header", "dev-flag")}


def test_a_loader_with_other_root_keys_is_found(given: Parts, tmp_path: Path) -> None:
    other = replace(given, loader=make_loader(tmp_path, 2))
    assert found(other, {}, "other") == {("loader", "root-keys")}
    known = replace(KNOWN, dev_keys=(FakeSigner(1).roots.keys[0].key,))
    raw = (given.folder / "nothing" / "slot").read_bytes() if (given.folder / "nothing").exists() else (
        build_slot(given, "plain") / "slot").read_bytes()
    assert [(one.where, one.code) for one in objections(release.read_slot(raw), known)] == [("loader", "dev-key")]
