"""The same source, toolchain and keys give the same bytes: another folder, user, home, time zone, locale, umask, clock.

The tree's own image is the one side. The other is built from nothing in a folder of another length. Sources are copied
without .git: the build never asks git.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import ROOT, make_keys

pytestmark = [pytest.mark.slow, pytest.mark.image_test, pytest.mark.xdist_group("rebuild")]
PROFILE = "qemu"
NOBODY = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
BOUND = ["/usr/bin/setpriv", "--pdeathsig", "TERM"]
"""The build ends with the test that started it."""
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
# what children see comes from BASE_ENVIRONMENT alone, so another clock must stand there
CLOCK = "from swiftbuild.effects import process\nprocess.BASE_ENVIRONMENT.update({environment!r})\n"
COMMAND = CLOCK + "from swiftbuild.cli.app import main\nmain()\n"
KERNEL = CLOCK + """\
import pathlib, sys
from swiftbuild.cli.session import Session
from swiftbuild.cli.workshop import workshop
from swiftbuild.core.accounts import Access
with workshop(Session(pathlib.Path.cwd(), environment={{"SWIFTBUILD_KEYS": sys.argv[1]}})) as shop:
    actions = {{"kernel": shop.plan("qemu", Access({{}}, ()))["kernel"]}}
    print(*(a.digest for a in shop.run(actions, force=True).artifacts.values()))
"""
PLACE = 'option_env!("SWIFT_BUILD").unwrap_or("unknown")'
"""What the first event says of the build; a path or a time in its place is sure to stay in the program."""
PLANTED_PATH = 'env!("CARGO_MANIFEST_DIR")'
PLANTED_TIME = 'env!("PLANTED_TIME")'
STAMP = """\
fn main() {
    println!("cargo:rerun-if-changed=never");
    println!("cargo:rustc-env=PLANTED_TIME={:?}", std::time::SystemTime::now());
"""


class Clone:
    """The sources in another folder, built by another user with another surrounding."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = root.parent / "keys"
        other = os.getuid() == 0 and can_read(sys.executable) and can_read(ROOT / "VERSION")
        self.user = [*BOUND, *NOBODY[1:]] if other else BOUND

    def python(self, script: str, *words: str, keys: Path | None = None) -> str:
        """Runs a script with the clone's own code."""
        clock = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+400d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        network = {n: v for n, v in os.environ.items() if n.lower() in {"http_proxy", "https_proxy"}}
        done = subprocess.run(
            ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh", *self.user, sys.executable, "-B", "-c",
             script.format(environment=clock if FAKETIME else {}), *words],
            cwd=self.root, capture_output=True, text=True, check=False, timeout=3000,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8",
                 "PYTHONPATH": str(self.root / "pipeline"), "SWIFTBUILD_KEYS": str(keys or self.keys),
                 "RUSTFLAGS": "-Copt-level=0", **network},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def image(self, keys: Path | None = None) -> dict[str, dict[str, str]]:
        """Builds the image and returns every part's digest and path."""
        return parts(self.python(COMMAND, "image", "-p", PROFILE, "--json", keys=keys))

    def own(self, folder: Path) -> None:
        """The folder becomes its builder's."""
        if self.user != BOUND:
            subprocess.run(["/bin/chown", "-R", "65534:65534", str(folder)], check=True)

    def kernel(self) -> str:
        """The digest of the kernel, compiled again."""
        return self.python(KERNEL, str(self.keys)).strip()


def folders_named(clone: Clone, part: Path) -> list[str]:
    """The folders of the build that a part names."""
    data = part.read_bytes()
    return [name for name in (str(clone.root), str(clone.root.parent), "/usr/lib/rustlib") if name.encode() in data]


def can_read(path: Path | str) -> bool:
    return subprocess.run([*NOBODY, "test", "-r", str(path)], check=False).returncode == 0


def parts(text: str) -> dict[str, dict[str, str]]:
    document = json.loads(text)
    return {"disk.img": {"sha256": document["sha256"], "path": document["path"]}, **document["parts"]}


def digests(image: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: part["sha256"] for name, part in image.items()}


@pytest.fixture(scope="module")
def here() -> dict[str, dict[str, str]]:
    """The tree's own image."""
    done = subprocess.run([sys.executable, "-m", "swiftbuild", "image", "-p", PROFILE, "--json"], cwd=ROOT, check=True,
                          stdout=subprocess.PIPE, text=True, timeout=3000)
    return parts(done.stdout)


@pytest.fixture(scope="module")
def clone() -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="swift-os-rebuilt-in-a-folder-with-a-longer-name-") as name:
        top = Path(name)
        top.chmod(0o755)
        root = top / "elsewhere"
        listed = subprocess.run(["/usr/bin/git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.splitlines()
        for leaf in listed:
            if (ROOT / leaf).is_file():
                (root / leaf).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / leaf, root / leaf)
        shutil.copytree(ROOT / "build/cargo", root / "build/cargo", symlinks=True)  # downloads, nothing that was built
        shutil.copytree(os.environ.get("SWIFTBUILD_KEYS") or ROOT / "keys/dev", top / "keys")
        made = Clone(root)
        made.own(top)
        yield made


@pytest.fixture(scope="module")
def rebuilt(clone: Clone) -> dict[str, dict[str, str]]:
    return clone.image()


def test_the_rebuilt_image_is_the_same_bit_for_bit(
    here: dict[str, dict[str, str]], rebuilt: dict[str, dict[str, str]]
) -> None:
    assert digests(rebuilt) == digests(here)


def test_no_part_names_the_folder_it_was_built_in(clone: Clone, rebuilt: dict[str, dict[str, str]]) -> None:
    for name, part in rebuilt.items():
        if name != "disk.img":  # it holds the others
            assert folders_named(clone, Path(part["path"])) == [], name


def test_another_key_folder_changes_the_keys_only(clone: Clone, rebuilt: dict[str, dict[str, str]]) -> None:
    other = clone.root.parent / "other-keys"
    make_keys(other)
    clone.own(other)
    built = clone.image(keys=other)
    same = {name for name in built if built[name]["sha256"] == rebuilt[name]["sha256"]}
    assert same == {"kernel.elf", "Image", "root.erofs", "verity"}
    objects = clone.root / "build/store/objects"  # the parts' names show the newer build
    old = next(objects.glob(f"*/{rebuilt['BOOTAA64.EFI']['sha256']}")).read_bytes()
    new = Path(built["BOOTAA64.EFI"]["path"]).read_bytes()
    block = old.index(b"SWROOTKY")
    changed = [at for at, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    assert changed
    assert block < changed[0] <= changed[-1] < block + 288


def test_a_planted_path_is_found(clone: Clone, rebuilt: dict[str, dict[str, str]]) -> None:
    source = clone.root / "kernel/kernel/src/boot.rs"
    text = source.read_text()
    assert PLACE in text
    source.write_text(text.replace(PLACE, PLANTED_PATH))
    planted = clone.kernel()
    source.write_text(text)
    assert planted != rebuilt["kernel.elf"]["sha256"]
    assert folders_named(clone, clone.root / "build/store/objects" / planted[:2] / planted)


def test_a_planted_time_is_found(clone: Clone, rebuilt: dict[str, dict[str, str]]) -> None:
    source, script = clone.root / "kernel/kernel/src/boot.rs", clone.root / "kernel/kernel/build.rs"
    texts = source.read_text(), script.read_text()
    source.write_text(texts[0].replace(PLACE, PLANTED_TIME))
    script.write_text(texts[1].replace("fn main() {\n", STAMP, 1))
    assert clone.kernel() != clone.kernel()
    source.write_text(texts[0])
    script.write_text(texts[1])
    assert clone.kernel() == rebuilt["kernel.elf"]["sha256"]
