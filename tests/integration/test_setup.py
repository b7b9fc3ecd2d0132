"""Set-up: quick when nothing is missing, one command for those without root; and the machine's apt is left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from swiftbuild.core.events import Silent
from swiftbuild.core.tools import TOOLS, judge, require
from swiftbuild.effects.apt import Apt
from swiftbuild.effects.process import Processes
from swiftbuild.effects.versions import tool_versions
from swiftbuild.errors import ToolError

from tests.fakes import ROOT

NETWORK = {name: value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy"}}


def bootstrap(tree: Path, *words: str, path: str | None = None, user: bool = False) -> subprocess.CompletedProcess[str]:
    prefix = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if user else []
    return subprocess.run([*prefix, "/bin/sh", str(tree / "pipeline/bootstrap.sh"), *words], capture_output=True,
                          text=True, check=False, timeout=300, cwd="/", stdin=subprocess.DEVNULL,
                          env={"PATH": path or "/usr/bin:/bin", "HOME": "/nonexistent"})


def test_setup_is_quick_and_silent_when_all_is_there() -> None:
    bootstrap(ROOT)
    times = []
    for _ in range(3):
        begin = time.monotonic()
        done = bootstrap(ROOT)
        times.append(time.monotonic() - begin)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(times) < 1.0


def missing(tree: Path) -> None:
    """A copy of the bootstrap that wants a package which is not there."""
    (tree / "pipeline").mkdir()
    text = (ROOT / "pipeline/bootstrap.sh").read_text()
    assert 'PACKAGES="ca-certificates' in text
    (tree / "pipeline/bootstrap.sh").write_text(text.replace('PACKAGES="ca', 'PACKAGES="swift-os-no-such-package ca'))
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tree)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_without_root_it_prints_the_one_command(tmp_path_factory: pytest.TempPathFactory) -> None:
    tree = Path("/tmp") / f"swift-os-setup-{os.getpid()}"
    tree.mkdir(mode=0o755)
    try:
        missing(tree)
        (tree / "build").mkdir()
        (tree / "build").chmod(0o777)
        done = bootstrap(tree, user=True)
        assert done.returncode == 4
        assert "run this once as root" in done.stderr
        assert "apt-get install -y --no-install-recommends swift-os-no-such-package" in done.stderr
        assert not (tree / ".venv").exists()
    finally:
        shutil.rmtree(tree)


def test_check_names_what_is_missing(tmp_path: Path) -> None:
    missing(tmp_path)
    done = bootstrap(tmp_path, "--check")
    assert done.returncode == 4
    assert "missing Debian packages: swift-os-no-such-package" in done.stderr
    assert bootstrap(ROOT, "--check").returncode == 0


def test_every_package_of_doctor_is_one_that_setup_installs() -> None:
    text = (ROOT / "pipeline/bootstrap.sh").read_text()
    listed = set(text.split('PACKAGES="')[1].split('"')[0].split())
    wanted = {name for tool in TOOLS for name in tool.package.split()}
    assert wanted - listed <= {"apt", "dpkg"}, "those two are Debian itself"


def test_an_older_tool_is_refused_and_a_newer_one_warned_of() -> None:
    tool = TOOLS[1]
    assert not judge(tool, None).ok
    assert not judge(tool, "1.90.1").ok
    assert judge(tool, tool.highest).note == ""
    newer = judge(tool, "1.200.0")
    assert newer.ok
    assert "newer than the highest tested" in newer.note


def test_a_build_does_not_begin_with_an_older_tool() -> None:
    versions = tool_versions(TOOLS, Processes(Silent()))
    require(versions)
    with pytest.raises(ToolError, match=r"rustc: found 1\.95\.0\+dfsg.*, wanted 1\.96 or newer: .*bookworm-security"):
        require({**versions, "rustc-web": "1.95.0+dfsg-1"})
    with pytest.raises(ToolError, match=r"mkfs\.erofs: found none"):
        require({name: version for name, version in versions.items() if name != "erofs-utils"})


def state_of_apt() -> dict[str, str]:
    """Everything that apt and dpkg keep on this machine, and what is configured."""
    found = {}
    for folder in ("/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg", "/etc/apt"):
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.name not in {"lock", "lock-frontend"}:
                stat = path.stat()
                content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.st_size < 1 << 20 else stat.st_size
                found[str(path)] = f"{stat.st_mtime_ns} {content}"
    return found


@pytest.mark.slow
def test_fetching_a_package_leaves_the_machines_apt_alone(tmp_path: Path) -> None:
    before = state_of_apt()
    apt = Apt(tmp_path / "apt", Processes(Silent()), NETWORK)
    version = apt.newest("hello")
    assert version is not None
    assert apt.newest("swift-os-no-such-package") is None
    assert apt.download("hello", "0.0-0", tmp_path / "files") is None
    file = apt.download("hello", version, tmp_path / "files")
    assert file is not None
    assert file.name.endswith("_arm64.deb")
    assert state_of_apt() == before
    listed = subprocess.run(["/usr/bin/dpkg", "--print-foreign-architectures"], capture_output=True, text=True,
                            check=True)
    assert "arm64" not in listed.stdout or "arm64" in before.get("/var/lib/dpkg/arch", "arm64")
