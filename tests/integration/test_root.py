"""The EROFS root: owners, modes and links as the manifest says, the same for every user and umask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from swiftbuild.digest import sha256, sha256_file
from swiftbuild.errors import DamageError, InputError, SpaceError
from swiftbuild.wire import elf

from tests.fakes import ROOT, Mill, mill, program, write_lock
from tests.images import make_linked

# one worker, so that what the module builds is built once
pytestmark = pytest.mark.xdist_group("root")
KIND = {"directory": "d", "file": "f", "link": "l"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    m = mill(tmp_path_factory.mktemp("root"))
    m.build()
    return m


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user reaches; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_image_holds_what_the_manifest_says(built: Mill, tmp_path: Path) -> None:
    outcome = built.build()
    image = built.object(outcome, "root/test/root.erofs")
    rows = json.loads(built.object(outcome, "root/test/root.json").read_text())
    # fsck.erofs unpacks with owners and modes; fakeroot keeps what an ordinary user may not set
    script = 'fsck.erofs --extract="$1" --preserve "$2" >&2 && cd "$1" && find . -printf "%P|%y|%m|%U|%G|%l|%s\\n"'
    out = subprocess.run(["/usr/bin/fakeroot", "sh", "-c", script, "sh", str(tmp_path / "x"), str(image)], check=True,
                         capture_output=True, text=True).stdout
    found = {f"/{line.split('|')[0]}": line.split("|")[1:] for line in out.splitlines()}
    assert len(found) == len(rows) > 20
    for row in rows:
        kind, mode, uid, gid, target, size = found[row["path"]]
        assert KIND[row["kind"]] == kind
        assert (int(uid), int(gid)) == (row["uid"], row["gid"]), row
        assert kind == "l" or int(mode, 8) == int(row["mode"], 8), row
        assert target == row.get("target", "")
        assert kind != "f" or int(size) == row["size"]


def test_special_bits_and_owners_reach_the_image(built: Mill) -> None:
    rows = {r["path"]: r for r in json.loads(built.object(built.build(), "root/test/root.json").read_text())}
    assert (rows["/var/mail"]["mode"], rows["/var/mail"]["uid"], rows["/var/mail"]["gid"]) == ("2775", 1000, 5)
    assert rows["/usr/bin/hello"]["mode"] == "4755"
    assert rows["/etc/shadow"]["mode"] == "0600"
    assert rows["/home/guest"]["uid"] == 1000
    assert rows["/bin"]["target"] == "usr/bin"


@pytest.mark.parametrize("mask", ["022", "077"])
def test_the_same_bytes_for_another_user_and_umask(built: Mill, open_folder: Path, mask: str) -> None:
    wanted = sha256_file(built.object(built.build(), "root/test/root.erofs"))
    script = (
        "import sys, pathlib; from tests.fakes import mill\n"
        "m = mill(pathlib.Path(sys.argv[1])); o = m.build()\n"
        "print(next(a.digest for r, a in o.artifacts.items() if str(r) == 'root/test/root.erofs'))"
    )
    place = open_folder / mask
    place.mkdir()
    place.chmod(0o777)
    user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    done = subprocess.run(
        ["/bin/sh", "-c", f'umask {mask}; exec "$@"', "sh", *user, sys.executable, "-B", "-c", script, str(place)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}/pipeline:{ROOT}", "HOME": str(place), "TZ": "Asia/Tokyo",
             "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == wanted


@pytest.mark.parametrize(
    ("binary", "made", "word"),
    [
        ("swift-kernel", program("x", flags=7), "kernel ELF: segment at .* is writable and executable"),
        ("swift-kernel", program("x", machine=62), "wrong architecture"),
        ("swift-kernel", program("x")[:-3], "truncated"),
        ("init", program("x", flags=7), "/usr/bin/init: segment at .* is writable and executable"),
        ("init", program("x", machine=62), "/usr/bin/init: wrong architecture"),
        ("init", program("x")[: elf.HEADER.size - 1], "/usr/bin/init: .* too short"),
    ],
)
def test_a_bad_program_stops_the_build(tmp_path: Path, binary: str, made: bytes, word: str) -> None:
    m = mill(tmp_path)
    m.runner.broken = {binary: made}
    with pytest.raises(DamageError, match=word):
        m.build()
    assert not (m.root / "build" / "work").exists()


def test_a_program_without_its_libraries_stops_the_build(tmp_path: Path) -> None:
    m = mill(tmp_path)
    m.runner.broken = {"init": make_linked("/lib/ld-linux-aarch64.so.1", ["libz.so.1"])}
    with pytest.raises(InputError) as caught:
        m.build()
    assert caught.value.message.splitlines() == [
        f"packages/base: /usr/bin/init needs the {what}, which no package of the image has"
        for what in ("dynamic linker /lib/ld-linux-aarch64.so.1", "shared library libz.so.1")
    ]


def test_first_contents_that_are_not_there_stop_the_build(tmp_path: Path) -> None:
    m = mill(tmp_path)
    profile = m.root / "pipeline/profiles/test.toml"
    profile.write_text(profile.read_text().replace("data_mib = 64", 'data_from = "nowhere"'))
    with pytest.raises(InputError, match=r"profiles/test\.toml: there is no folder nowhere"):
        m.build()


@pytest.mark.parametrize(
    ("wanted", "word"),
    [("usr/lib/libhello.so.1", ""), ("usr/lib/absolute", ""), ("usr/lib/hard", ""),
     ("usr/lib/outside", "no file 'etc/outside' behind"), ("usr/lib/round", "more than 8 links"),
     ("usr/lib", "no regular file")],
)
def test_links_inside_a_package_are_followed(tmp_path: Path, wanted: str, word: str) -> None:
    m = mill(tmp_path)
    links = {"libhello.so.1": "libhello.so.1.2", "libhello.so.1.2": "../bin/hello", "absolute": "/usr/bin/hello",
             "outside": "../../../../etc/outside", "round": "round"}
    digest, size = m.archive.add("1.1-1", "linked", links={f"usr/lib/{name}": to for name, to in links.items()},
                                 hard={"usr/lib/hard": "usr/bin/hello"})
    write_lock(m.root, "1.1-1", digest, size)
    recipe = m.root / "packages/hello/recipe.toml"
    recipe.write_text(recipe.read_text().replace("usr/bin/hello", wanted, 1))
    if word:
        with pytest.raises(InputError, match=word):
            m.build()
        return
    rows = json.loads(m.object(m.build(), "root/test/root.json").read_text())
    row = next(row for row in rows if row["path"] == "/usr/bin/hello")
    assert (row["kind"], row["sha256"]) == ("file", sha256(program("linked")))


def test_a_base_larger_than_its_slot(tmp_path: Path) -> None:
    m = mill(tmp_path)
    with (m.root / "packages/base/motd").open("wb") as motd:
        motd.truncate(129 << 20)
    with pytest.raises(SpaceError, match=r"the slot image needs \d+ bytes, its slot has 134217728"):
        m.build()


def test_a_package_that_is_not_what_the_lock_says(tmp_path: Path) -> None:
    m = mill(tmp_path)
    write_lock(m.root, "1.0-1", "0" * 64, 1)
    with pytest.raises(InputError, match=r"debian\.hello: version 1\.0-1 has SHA-256 .*, the lock says 0000"):
        m.build()


def test_a_version_that_left_the_archive_gives_the_newest_with_a_record(tmp_path: Path) -> None:
    m = mill(tmp_path)
    m.archive.add("1.2-1", "newer")
    m.archive.versions.pop("1.0-1")
    outcome = m.build()
    record = json.loads(m.object(outcome, "debian/hello/package.json").read_text())
    assert (record["version"], record["locked"]) == ("1.2-1", False)


def test_a_package_that_the_archive_does_not_have(tmp_path: Path) -> None:
    m = mill(tmp_path)
    m.archive.versions.clear()
    with pytest.raises(InputError, match="the archive has no package hello"):
        m.build()


def test_a_file_that_the_package_does_not_hold(tmp_path: Path) -> None:
    m = mill(tmp_path)
    recipe = m.root / "packages/hello/recipe.toml"
    recipe.write_text(recipe.read_text().replace("usr/bin/hello", "usr/bin/helo", 1))
    with pytest.raises(InputError, match="the Debian package has no file 'usr/bin/helo'"):
        m.build()


def test_a_file_that_is_not_beside_the_recipe(tmp_path: Path) -> None:
    m = mill(tmp_path)
    (m.root / "packages/base/motd").unlink()
    with pytest.raises(InputError, match=r"packages/base/recipe\.toml: there is no file packages/base/motd"):
        m.build()
