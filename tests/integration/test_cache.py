"""The cache: change one thing at a time, and exactly the right actions run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from swiftbuild.core.plan import Record
from swiftbuild.core.policy import Known
from swiftbuild.effects.statcache import StatCache
from swiftbuild.effects.store import Store
from swiftbuild.errors import RefusedError
from swiftbuild.stages.cargo import CargoPlace, claim

from tests.fakes import FakeSigner, Mill, mill, write_lock

# one worker, so that what the module builds is built once
pytestmark = pytest.mark.xdist_group("cache")
PROGRAMS = {"kernel", "loader/test", "userland"}
DISK = {"disk/test"}
SIGNED = {"signed/test", *DISK}
SLOT = {"slot/test", *SIGNED}
ROOT = {"root/test", "verity/test", *SLOT}
KERNEL = {"kernel", "kernel-forms", *SLOT}
DATA = {"data/test", *DISK}


def append(name: str, text: str) -> Callable[[Mill], None]:
    """A change of one file."""

    def change(m: Mill) -> None:
        with (m.root / name).open("a") as file:
            file.write(text)

    return change


def replace(name: str, old: str, new: str) -> Callable[[Mill], None]:
    def change(m: Mill) -> None:
        path = m.root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def tool(name: str) -> Callable[[Mill], None]:
    def change(m: Mill) -> None:
        m.tools = {**m.tools, name: "2"}

    return change


def touch(m: Mill) -> None:
    (m.root / "kernel/kernel/src/main.rs").touch()


def new_keys(m: Mill) -> None:
    m.keys = FakeSigner(2)


def told(**more: object) -> Callable[[Mill], None]:
    """An option of the command line."""

    def change(m: Mill) -> None:
        m.told = more

    return change


def new_lock(m: Mill) -> None:
    write_lock(m.root, "1.1-1", *m.archive.add("1.1-1", "hello again"))


def relocked(m: Mill) -> None:
    """Another version with the same files."""
    write_lock(m.root, "1.1-1", *m.archive.add("1.1-1", "hello"))


def umask(_: Mill) -> None:
    os.umask(0o077)


CHANGES: list[tuple[str, Callable[[Mill], None], set[str]]] = [
    ("nothing", lambda _: None, set()),
    ("a file's time", touch, set()),
    ("kernel source", append("kernel/kernel/src/main.rs", "fn more() {}\n"), KERNEL),
    ("kernel comment", append("kernel/kernel/src/main.rs", "// a word\n"), {"kernel"}),
    ("linker script", append("kernel/kernel/kernel.ld", "ENTRY(start)\n"), KERNEL),
    ("a crate's manifest", append("kernel/kernel/Cargo.toml", "# a word\n"), KERNEL),
    ("a build script appears", append("kernel/kernel/build.rs", "fn main() {}\n"), KERNEL),
    ("a crate that two share", append("kernel/shared/src/main.rs", "fn more() {}\n"), KERNEL | {"loader/test"}),
    ("loader source", append("kernel/loader/src/main.rs", "fn more() {}\n"), {"loader/test", *SLOT}),
    ("userland source", append("userland/init/src/main.rs", "fn more() {}\n"), {"userland", *ROOT}),
    ("Cargo.lock", append("Cargo.lock", "# a word\n"), PROGRAMS | {"datatool"}),
    ("a file beside a recipe", append("packages/base/motd", "more\n"), ROOT),
    ("a file's mode in a recipe", replace("packages/base/recipe.toml", 'mode = "0755"', 'mode = "0555"'), ROOT),
    ("a recipe's words", replace("packages/base/recipe.toml", "the base", "a base"), set()),
    ("profile: hostname", replace("pipeline/profiles/test.toml", "tester", "other"), ROOT),
    ("profile: data size", replace("pipeline/profiles/test.toml", "data_mib = 64", "data_mib = 65"), DATA),
    ("profile: first contents", replace("pipeline/profiles/test.toml", "data_mib = 64", 'data_from = "packages/hello"'),
     DATA),
    ("profile: slot size", replace("pipeline/profiles/test.toml", "data_mib = 64", "base_mib = 129"),
     {"slot/test", *DISK}),
    ("profile: base", replace("pipeline/profiles/test.toml", "dev = true", 'dev = true\nbase = "disk"'), SLOT),
    ("profile: dev", replace("pipeline/profiles/test.toml", "dev = true", "dev = false"), ROOT),
    ("profile: the machine to boot", replace("pipeline/profiles/test.toml", "cpus = 1", "cpus = 2"), set()),
    ("lock: another version", new_lock, {"debian/hello", *ROOT}),
    ("lock: another version, same files", relocked, {"debian/hello", "root/test"}),
    ("compiler", tool("rustc-web"), PROGRAMS | {"datatool"}),
    ("linker", tool("lld-19"), PROGRAMS),
    ("mkfs.erofs", tool("erofs-utils"), {"root/test"}),
    ("key folder", new_keys, {"loader/test", *SLOT}),
    ("version", replace("VERSION", "0.1.0", "0.1.1"), ROOT | DATA),
    ("another version by an option", told(version="0.1.2"), ROOT | DATA),
    ("a release that revokes older ones", told(revokes_older=True), SLOT),
    ("when it was signed", told(signed_at=1_800_000_000), SLOT),
    ("profile: rollback index", replace("pipeline/profiles/test.toml", "dev = true", "dev = true\nrollback_index = 2"),
     SLOT),
    ("code of a stage", append("pipeline/swiftbuild/stages/disk.py", "# a word\n"), {"disk/test"}),
    ("code below a stage", append("pipeline/swiftbuild/wire/verity.py", "# a word\n"),
     {"verity/test", "slot/test", "signed/test"}),
    ("code of the command line", append("pipeline/swiftbuild/cli/app.py", "# a word\n"), set()),
    ("umask", umask, set()),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """A repository that was built once."""
    m = mill(tmp_path_factory.mktemp("cache"))
    built = {"kernel", "kernel-forms", "loader/test", "userland", "datatool", "debian/hello", *ROOT, *DATA}
    assert set(m.build().ran) == built
    return m


@pytest.fixture
def restored(built: Mill, tmp_path: Path) -> Iterator[Mill]:
    """The same; its sources are put back behind the test, and then nothing may be left to do."""
    saved = tmp_path / "saved"
    shutil.copytree(built.root, saved, ignore=shutil.ignore_patterns("build"))
    mask = os.umask(0o022)
    os.umask(mask)
    yield Mill(built.root, built.archive)
    os.umask(mask)
    for place in built.root.iterdir():
        if place.name != "build":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.copytree(saved, built.root, dirs_exist_ok=True)
    assert Mill(built.root, built.archive).build().ran == ()


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_exactly_the_right_actions_run(restored: Mill, change: Callable[[Mill], None], expected: set[str]) -> None:
    change(restored)
    stale = restored.preview()
    outcome = restored.build()
    assert set(outcome.ran) == expected
    assert expected <= stale, "a dry run never leaves out an action that runs"
    assert (stale == set()) == (expected == set())
    assert restored.build().ran == (), "the second build has nothing to do"


@pytest.mark.parametrize("name", ["slot/test/slot.img", "userland/init", "root/test/root.erofs", "disk/test/disk.img"])
@pytest.mark.parametrize("damage", ["deleted", "altered", "truncated"])
def test_a_damaged_output_is_made_again(built: Mill, name: str, damage: str) -> None:
    place = built.object(built.build(), name)
    good = place.stat()
    if damage != "deleted":
        place.chmod(0o600)
        with place.open("r+b") as file:
            if damage == "truncated":
                file.truncate(good.st_size - 1)
            else:
                byte = file.read(1)
                file.seek(0)
                file.write(bytes([byte[0] ^ 1]))
        os.utime(place, ns=(good.st_atime_ns, good.st_mtime_ns))  # its time does not tell
    else:
        place.unlink()
    assert built.build().ran == (name.rpartition("/")[0],)
    assert built.object(built.build(), name) == place


def test_what_must_not_leave_the_desk_is_never_signed(built: Mill) -> None:
    known = Known(built.keys.roots, ("swift",), ())
    strict = Mill(built.root, built.archive, told={"forbidden": known})
    with pytest.raises(RefusedError, match="built-in-password"):
        strict.build()
    assert "signed/test" in strict.preview(), "no signature lies in the store"
    assert built.build().ran == ()


def test_force_runs_everything_and_makes_the_same(built: Mill) -> None:
    before = built.build()
    after = built.build(force=True)
    assert len(after.ran) == len(before.steps)
    assert after.artifacts == before.artifacts


def test_an_input_edited_while_it_is_read_is_not_trusted(built: Mill) -> None:
    source = built.root / "packages/base/motd"
    text = source.read_text()
    run = built.runner.run

    def meddle(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
        if "fakeroot" in argv[0]:
            source.write_text(text + "edited\n")
        return run(argv, env=env, cwd=cwd)

    source.write_text(text + "first\n")
    built.runner.run = meddle  # type: ignore[method-assign]
    built.build()
    built.runner.run = run  # type: ignore[method-assign]
    source.write_text(text + "first\n")
    assert "root/test" in built.build().ran
    source.write_text(text)
    assert built.build().ran == ()


def test_the_store_keeps_within_its_size(tmp_path: Path) -> None:
    stats = StatCache(tmp_path / "stats")
    store = Store(tmp_path / "store", stats)
    artifacts = []
    for index in range(4):
        file = tmp_path / "file"
        file.write_bytes(bytes([index]) * 8192)
        artifacts.append(store.put(file))
        store.remember(f"action{index}", f"key{index}", {}, Record({}, {"out": artifacts[-1]}))
        os.utime(tmp_path / "store" / "records" / f"key{index}", ns=(index, index))
    store.used("key1")
    assert store.trim(32768, set()) == 0
    assert store.trim(16384, {artifacts[0].digest}) == 16384
    assert [store.holds(artifact) for artifact in artifacts] == [True, True, False, False]


def test_a_file_of_next_year_neither_stalls_nor_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"text")
    os.utime(file, (2**33, 2**33))
    stats = StatCache(tmp_path / "stats")
    artifact = Store(tmp_path / "store", stats).put(file)
    place = tmp_path / "store" / "objects" / artifact.digest[:2] / artifact.digest
    seen: list[Path] = []
    monkeypatch.setattr("swiftbuild.effects.statcache.sha256_file", seen.append)
    assert stats.digest(place) == artifact.digest
    assert seen == []


def test_a_moved_repository_compiles_afresh(tmp_path: Path) -> None:
    here, there = (CargoPlace(tmp_path / name, tmp_path / "target", tmp_path, {}) for name in ("here", "there"))
    claim(here)
    (tmp_path / "target" / "made").touch()
    claim(here)
    assert (tmp_path / "target" / "made").exists()
    claim(there)
    assert not (tmp_path / "target" / "made").exists()
