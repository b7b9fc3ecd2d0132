"""`swiftbuild verify` from the outside: it proves, keeps what it proved, says no, and goes away when it is asked to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from swiftbuild.effects.keys import KeyFolder, Terms, make_folder
from swiftbuild.model.release import SectionType, SignatureArea
from swiftbuild.scenarios import variants
from swiftbuild.scenarios.failing import BREAK, LATE_IN_BOOT
from swiftbuild.wire import release, rootkeys

from tests.system.conftest import ROOT, image_of
from tests.variants import signed, slot_image

pytestmark = [pytest.mark.system, pytest.mark.release_test, pytest.mark.xdist_group("verify")]
VERIFY = [sys.executable, "-m", "swiftbuild"]
NOT_PROVED, FAULTY, INTERRUPTED = 11, 6, 130


def run(*words: str | Path, status: int = 0, keys: Path | None = None, tree: Path = ROOT) -> Any:
    """A command of swiftbuild; its document."""
    env = {**os.environ, **({"SWIFTBUILD_KEYS": str(keys)} if keys else {})}
    done = subprocess.run([*VERIFY, "-C", str(tree), "--json", *map(str, words)], env=env, capture_output=True,
                          text=True, check=False, timeout=1200)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This repository as a place of its own, so that nothing is kept from one test run to the next."""
    here = tmp_path_factory.mktemp("tree")
    for name in ("VERSION", "pipeline", "packages", "keys"):
        (here / name).symlink_to(ROOT / name)
    (here / "build").mkdir()
    (here / "build" / "images").symlink_to(ROOT / "build" / "images")
    yield here
    shutil.rmtree(here / "build" / "verify", ignore_errors=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of the image that this tree has for the QEMU board."""
    out = tmp_path_factory.mktemp("release") / "qemu.release"
    raw = slot_image(image_of("qemu"))
    out.write_bytes(raw[: release.decode_header(raw[: release.HEADER_SIZE]).min_slot_size])
    return out


CHOSEN = ("--scenario", "boot", "--scenario", "bit-in-kernel", "--seed", "1")


def codes(tree: Path, record: Path, *words: str | Path) -> set[str]:
    """The faults that `release evidence` finds."""
    found = run("release", "evidence", record, *words, status=FAULTY, tree=tree)["findings"]
    return {fault["code"] for fault in found}


def test_a_release_is_proved_and_the_proof_is_kept(tree: Path, file: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    first = run("verify", file, *CHOSEN, "--record", record, "--junit", tmp_path / "runs.xml", tree=tree)
    told = first["predicate"]
    assert (told["verdict"], told["scope"], told["seed"]) == ("passed", "chosen", 1)
    assert [(row["scenario"], row["kind"]) for row in told["runs"]] == [("boot", "own"), ("bit-in-kernel", "next")]
    assert [[boot["word"] for boot in row["outcome"]["boots"]] for row in told["runs"]] == [["ar"], ["ar", "ar"]]
    assert all(row["artifact"] == "release" and not row["kept"] for row in told["runs"])
    suite = ElementTree.parse(tmp_path / "runs.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    again = run("verify", file, *CHOSEN, "--record", record, tree=tree)
    assert all(row["kept"] for row in again["predicate"]["runs"])
    # What it proves is as much as was asked: not a release that is to be published.
    assert codes(tree, record, file, "--allow-dev") == {"scope", "missing"}
    assert {"dev", "scope", "missing"} <= codes(tree, record, file)
    # Another file of the same release is not what was proved.
    other = tmp_path / "other.release"
    other.write_bytes(signed(variants.told(file.read_bytes(), signed_at=1)))
    assert "release" in codes(tree, record, other, "--allow-dev")
    # A log that somebody edits is no proof, and the scenario runs again.
    log = tree / "build/verify/logs" / f"{told['runs'][0]['outcome']['boots'][0]['log']}.log"
    log.chmod(0o644)
    log.write_bytes(log.read_bytes() + b"healthy\n")
    assert "log" in codes(tree, record, file, "--allow-dev")
    third = run("verify", file, *CHOSEN, "--record", record, tree=tree)
    assert [row["kept"] for row in third["predicate"]["runs"]] == [False, True]
    assert not list((tree / "build" / "verify").glob(".subjects-*"))


def test_the_update_from_an_older_release_is_tried(tree: Path, file: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.release"
    old.write_bytes(signed(variants.told(file.read_bytes(), version="0.0.9")))
    words = ("--from", old, "--scenario", "bit-in-header", "--record", tmp_path / "record.json")
    plan = run("verify", file, *words, "--full", "--dry-run", tree=tree)["runs"]
    assert sorted({row["kind"] for row in plan}) == ["between", "next"]
    (seed,) = [seed for seed in range(8) if [row["kind"] for row in run(
        "verify", file, *words, "--seed", str(seed), "--dry-run", tree=tree)["runs"]] == ["between"]][:1]
    told = run("verify", file, *words, "--seed", str(seed), tree=tree)["predicate"]
    (only,) = told["runs"]
    assert (only["kind"], only["outcome"]["status"]) == ("between", "passed")
    assert {row["role"] for row in told["releases"]} == {"subject", "from"}
    run("verify", old, "--from", file, "--dry-run", status=2, tree=tree)


def test_a_variant_is_not_proved(tree: Path, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.release"
    broken.write_bytes(signed(variants.with_code(file.read_bytes(), LATE_IN_BOOT, BREAK)))
    record = tmp_path / "record.json"
    told = run("verify", broken, "--scenario", "boot", "--seed", "1", "--record", record, "--junit",
               tmp_path / "runs.xml", status=NOT_PROVED, tree=tree)["predicate"]
    assert told["verdict"] == "failed"
    (only,) = told["runs"]
    assert only["outcome"]["status"] == "failed" and "kernel.panic" in only["outcome"]["message"]
    (boot,) = only["outcome"]["boots"]
    assert boot["word"] == "ap" and "esr 0xf2000001" in boot["panic"]
    suite = ElementTree.parse(tmp_path / "runs.xml").getroot()  # noqa: S314 - our own
    assert suite.get("failures") == "1"
    assert {"failed", "verdict", "story"} <= codes(tree, record, broken)


def test_a_release_under_real_keys_boots_itself_and_its_twin_is_made_to_fail(
    tree: Path, file: Path, tmp_path: Path
) -> None:
    real = make_folder(tmp_path / "real", name="", terms=Terms(dev=False, signed_at=0), passphrase=None)
    known = release.read_slot(file.read_bytes())
    loader = bytearray(known.section(SectionType.LOADER))
    (place,) = rootkeys.places(loader)
    loader[place : place + rootkeys.SIZE] = rootkeys.encode(real.roots())
    raw = variants.signed(variants.rebuilt(file.read_bytes(), {SectionType.LOADER: bytes(loader)}, flags_critical=0),
                          KeyFolder(real.path))
    theirs = tmp_path / "real.release"
    theirs.write_bytes(raw)
    words = ("--scenario", "boot", "--scenario", "kernel-panic", "--seed", "2", "--record", tmp_path / "record.json")
    told = run("verify", theirs, *words, keys=real.path, tree=tree)["predicate"]
    assert [(row["scenario"], row["artifact"]) for row in told["runs"]] == [("boot", "release"),
                                                                            ("kernel-panic", "twin")]
    roles = {row["role"]: row for row in told["releases"]}
    assert roles["subject"]["payloads"] == roles["twin"]["payloads"]
    assert roles["subject"]["digest"] == release.release_digest(raw).hex() != roles["twin"]["digest"]


def test_a_file_that_no_machine_would_install_is_not_tried(tree: Path, file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.release"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    assert "damaged.release" in run("verify", damaged, status=FAULTY, tree=tree)["error"]
    assert "damaged.release" in run("release", "evidence", file, damaged, status=FAULTY, tree=tree)["error"]
    unsigned = tmp_path / "unsigned.release"
    unsigned.write_bytes(variants.with_area(file.read_bytes(), SignatureArea()))
    assert run("verify", unsigned, status=FAULTY, tree=tree)["error"]
    assert "both for qemu" in run("verify", file, file, status=2, tree=tree)["error"]


def test_an_interrupt_ends_machines_and_leaves_nothing(tree: Path, file: Path, tmp_path: Path) -> None:
    words = [*VERIFY, "-C", str(tree), "verify", str(file), "--scenario", "no-init", "--seed", "1", "--no-record"]
    log = tmp_path / "stderr"
    with log.open("wb") as sink:
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=sink,
                                 env={**os.environ, "TMPDIR": str(tmp_path)})
        try:
            end = time.monotonic() + 120
            while not list(tmp_path.glob("swiftbuild-verify-*/boot-1/console.log")):
                assert time.monotonic() < end and child.poll() is None, log.read_text()
                time.sleep(0.2)
            workers = subprocess.run(["/usr/bin/pgrep", "-f", str(tmp_path / "swiftbuild-verify-")], check=False,
                                     capture_output=True, text=True).stdout.split()
            assert workers
            child.terminate()
            assert child.wait(60) == INTERRUPTED, log.read_text()
        finally:
            child.kill()
    assert "interrupted" in log.read_text()
    end = time.monotonic() + 10  # the kernel ends orphans at once, and whoever reaps them takes its time
    while left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.2)
    assert not list(tmp_path.glob("swiftbuild-verify-*"))


@pytest.mark.parametrize(("words", "status", "says"), [
    (("--scenario", "kernel-panics"), 2, "did you mean 'kernel-panic'"),
    (("nothing.release",), 2, "there is no file nothing.release"),
    (("VERSION",), 6, "VERSION"),
    (("--profile", "qemuu"), 2, "did you mean 'qemu'"),
    (("--profile", "qemu", "VERSION"), 2, "--profile chooses among the built images"),
])
def test_mistakes_are_told_before_anything_starts(words: tuple[str, ...], status: int, says: str, tree: Path) -> None:
    done = run("verify", *[str(ROOT / word) if word == "VERSION" else word for word in words], status=status, tree=tree)
    assert says in done["error"]
