"""The shared vectors of tests/vectors: the Rust crates read the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.core import trust
from swiftbuild.core.slots import choose
from swiftbuild.errors import SwiftbuildError, TrustError
from swiftbuild.model.bootctl import BootControl, LoaderTrial
from swiftbuild.model.signing import Algorithm, PublicKey, Roots
from swiftbuild.wire import bootctl, gpt, release
from swiftbuild.wire.keyset import key_id

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
Case = dict[str, Any]


def cases(folder: str) -> list[Any]:
    """Every case of a folder, named."""
    index = json.loads((VECTORS / folder / "index.json").read_text())
    return [pytest.param(index | case, id=case["name"]) for case in index["cases"]]


def data(folder: str, case: Case) -> bytearray:
    """The case's input."""
    raw = bytearray((VECTORS / folder / case["base"]).read_bytes())
    for at, patch in case["patches"]:
        raw[at : at + len(patch) // 2] = bytes.fromhex(patch)
    return raw[: case.get("length", len(raw))]


@pytest.mark.parametrize("case", cases("gpt"))
def test_gpt(case: Case) -> None:
    raw = data("gpt", case)
    disk = bytearray(case["sectors"] * 512)
    disk[: 34 * 512], disk[-33 * 512 :] = raw[: 34 * 512], raw[34 * 512 :]
    if case["expect"] != "ok":
        with pytest.raises(SwiftbuildError):
            gpt.read(disk)
        return
    header, faults = gpt.read_header(disk, 1, case["sectors"])
    faults = faults or gpt.read_entries(disk, header)[1]
    assert bool(faults) == (case["source"] == "backup")
    assert [p.name for p in gpt.read(disk).partitions] == ["esp", "bootctl", "base_a", "base_b", "pkgs", "data"]


@pytest.mark.parametrize("case", cases("release"))
def test_release(case: Case) -> None:
    raw = data("release", case)

    def read() -> None:
        header = release.decode_header(raw)
        release.check_place(header, partition_size=case["partition_size"], profile="qemu")
        release.decode_signatures(raw[4096:])

    if case["expect"] == "ok":
        read()
    else:
        with pytest.raises(SwiftbuildError):
            read()


@pytest.mark.parametrize("case", cases("trust"))
def test_trust(case: Case) -> None:
    keys = [bytes.fromhex(key) for key in case["roots"]]
    public = [PublicKey(algorithm=Algorithm.ED25519, key_id=key_id(Algorithm.ED25519, key), key=key) for key in keys]
    roots = Roots.of(public, case["threshold"])
    raw = data("trust", case)
    if case["expect"] == "ok":
        trust.accept_release(raw, roots)
    else:
        with pytest.raises(TrustError) as refused:
            trust.accept_release(raw, roots)
        assert refused.value.code == case["expect"]


@pytest.mark.parametrize("case", cases("bootctl"))
def test_bootctl(case: Case) -> None:
    raw = data("bootctl", case)
    partition = raw[:4096].ljust(65536, b"\0") + raw[4096:]
    copies = bootctl.read_copies(partition)
    if case["expect"] != "ok":
        assert not any(isinstance(copy, BootControl) for copy in copies)
        with pytest.raises(SwiftbuildError):
            bootctl.current(partition)
        return
    index, block = bootctl.current(partition)
    assert (index, block.sequence) == (case["copy"], case["sequence"])
    choice = choose(block)
    assert (list(choice.order), choice.refused) == (case["order"], case["refused"])
    found = block.loader_trial
    expected = LoaderTrial(**{**case["loader"], "digest": bytes.fromhex(case["loader"]["digest"])}) \
        if "loader" in case else None
    assert found == expected
    kept = bootctl.encode(block, keep=raw[index * 4096 :][:4096])
    assert kept == raw[index * 4096 :][:4096]
