"""The image command on this tree's own images: what it says, nothing to do, no space, devices, built-in passwords."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from swiftbuild.cli.image import _check_target
from swiftbuild.digest import sha256_file
from swiftbuild.effects.files import replacing
from swiftbuild.effects.sparse import copy_onto, copy_sparse
from swiftbuild.errors import SpaceError, UsageError

from tests.fakes import ROOT
from tests.images import build, parts

pytestmark = [pytest.mark.image_test, pytest.mark.xdist_group("image")]
HEAVY = ("lief", "tuf", "requests", "pyfatfs", "qemu", "cryptography", "rich")
WARM_SECONDS = 1.0


def run(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, sys.executable, "-m", "swiftbuild", *words], cwd=ROOT, capture_output=True,
                          text=True, check=False, timeout=1200, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    done = run("image", "-p", "hetzner", "--json")
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_the_document_has_what_is_promised(document: dict[str, Any]) -> None:
    image = Path(document["path"])
    assert hashlib.sha256(image.read_bytes()).hexdigest() == document["sha256"]
    assert image.stat().st_size == document["size"]
    assert image.stat().st_blocks * 512 < document["size"] / 4, "the image is sparse"
    assert document["profile"] == "hetzner"
    assert document["version"] == (ROOT / "VERSION").read_text().strip()
    assert document["login"] == {"user": "root", "password": document["logins"]["root"]}
    assert document["packages"], "Debian packages are recorded"
    assert all(package["locked"] for package in document["packages"])


def test_the_compressed_image_is_the_image(document: dict[str, Any]) -> None:
    packed = document["compressed"]
    data = subprocess.run(["/usr/bin/zstd", "-dc", packed["path"]], check=True, stdout=subprocess.PIPE).stdout
    assert hashlib.sha256(data).hexdigest() == document["sha256"]
    assert "dd of=/dev/sda" in packed["rescue_command"]


def test_the_text_says_how_to_boot_it(document: dict[str, Any]) -> None:
    text = run("image", "-p", "hetzner").stdout
    for words in (document["path"], document["sha256"], "run --profile hetzner", "slot a", "root / swift", "not on the",
                  document["compressed"]["rescue_command"]):
        assert words in text


def test_nothing_to_do_takes_under_a_second_and_loads_little(document: dict[str, Any]) -> None:
    best = 99.0
    for _ in range(3):
        before = os.times()
        done = run("image", "-p", "hetzner", "--json")
        after = os.times()
        best = min(best, after.children_user + after.children_system - before.children_user - before.children_system)
        assert json.loads(done.stdout)["ran"] == []
    assert best < WARM_SECONDS, f"{best:.2f} s of processor time"
    script = ("import sys, runpy\nsys.argv = ['swiftbuild', 'image', '-p', 'hetzner', '-q']\n"
              "try:\n    runpy.run_module('swiftbuild', run_name='__main__')\nexcept SystemExit:\n    pass\n"
              "print('LOADED', *sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stderr.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_no_space_leaves_the_old_image_and_nothing_else(
    document: dict[str, Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = build(parts(tmp_path_factory.mktemp("old")), "old").rename(tmp_path / "small.img")
    before = sha256_file(target)
    # a file-size limit stands for a full disk: the same way through the code, and no file system to make
    done = run("image", "-p", "hetzner", "--out", str(target), prefix=("/usr/bin/prlimit", "--fsize=8388608"))
    assert done.returncode == 8, done.stderr
    assert f"no space for {target}" in done.stderr
    assert "hint:" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.img"]
    assert sha256_file(target) == before


def test_an_altered_image_is_written_again(document: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "copy.img"
    words = ("image", "-p", "hetzner", "--json", "--out", str(target))
    assert run(*words).returncode == 0
    with target.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"damage")
    assert json.loads(run(*words).stdout)["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()


def test_a_block_device_needs_yes() -> None:
    device = next((path for path in sorted(Path("/dev").iterdir()) if path.is_block_device()), None)
    if device is None:
        pytest.skip("no block device here")
    with pytest.raises(UsageError, match="is a block device"):
        _check_target(device, yes=False)
    _check_target(device, yes=True)  # looks only


def test_own_hashes_replace_the_built_in_passwords(document: dict[str, Any], tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@example.org\n")
    own = "$6$own$" + "x" * 86
    done = run("image", "-p", "qemu", "--json", "--password-hash", own, "--ssh-key", str(key), "--out",
               str(tmp_path / "own.img"))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["login"] is None
    erofs = Path(made["parts"]["root.erofs"]["path"])
    out = tmp_path / "tree"
    subprocess.run(["/usr/bin/fakeroot", "/usr/bin/fsck.erofs", f"--extract={out}", str(erofs)], check=True,
                   capture_output=True)
    assert (out / "etc/shadow").read_text().splitlines()[0].startswith(f"root:{own}:")
    assert (out / "etc/shadow").read_text().splitlines()[1].startswith("guest:!:")
    assert (out / "root/.ssh/authorized_keys").read_text() == key.read_text()
    assert "password" not in (out / "etc/issue").read_text()


def test_copies_keep_their_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for at in (0, 5 << 20, 9 << 20):
            file.seek(at)
            file.write(os.urandom(5000))
        file.truncate(32 << 20)
    with replacing(target) as temporary:
        copy_sparse(source, temporary)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 1 << 20


def test_nothing_of_what_was_on_a_device_is_left(tmp_path: Path) -> None:
    source, device = tmp_path / "source", tmp_path / "device"
    with source.open("wb") as file:
        file.seek(5 << 20)
        file.write(os.urandom(5000))
        file.truncate(9 << 20)
    device.write_bytes(b"old " * (3 << 20))  # a device is larger than the image, and no device for this
    copy_onto(source, device)
    assert device.read_bytes() == source.read_bytes() + b"old " * (3 << 18)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "file") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_a_device_has_no_room_for_leaves_it_as_it_was(tmp_path: Path) -> None:
    source, device = tmp_path / "source", tmp_path / "device"
    source.write_bytes(b"i" * 4096)
    device.write_bytes(b"d" * 4095)
    with pytest.raises(SpaceError, match="it has 4095 bytes, the image 4096"):
        copy_onto(source, device)
    assert device.read_bytes() == b"d" * 4095
