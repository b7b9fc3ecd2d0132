"""The command line as a person meets it: exit codes, JSON, interrupts, a second build, what it imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from swiftbuild.cli.session import find_root
from swiftbuild.effects.lock import alone
from swiftbuild.errors import UsageError

from tests.fakes import FILES, ROOT

HEAVY = ("lief", "tuf", "requests", "pyfatfs", "qemu", "pexpect", "cryptography")
SECONDS = 20.0


def swiftbuild(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "swiftbuild", *words], cwd=cwd, capture_output=True, text=True,
                          check=False, timeout=300, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of files only: nothing in it can be compiled."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "packages/lock.toml").write_text(f'[debian.hello]\nversion = "1"\nsha256 = "{"0" * 64}"\nsize = 1\n')
    return tmp_path


def test_version_and_help() -> None:
    assert swiftbuild("--version").stdout == f"swiftbuild {(ROOT / 'VERSION').read_text()}"
    text = swiftbuild("--help").stdout
    for name in ("image", "build", "run", "boot", "inspect", "package", "data", "verify", "doctor", "clean"):
        assert name in text


def test_help_shows_what_an_option_is_by_itself() -> None:
    """Defaults stand in brackets, which a help in colours may take for a style."""
    for words, default in ((("verify",), "[theimagesbuiltlast]"), (("release", "verify"), "[theoneinuse]")):
        assert default in "".join(swiftbuild(*words, "--help").stdout.replace("│", "").split())


def test_image_without_a_profile_lists_them(tree: Path) -> None:
    done = swiftbuild("image", cwd=tree)
    assert done.returncode == 0
    assert "a profile for tests" in done.stdout
    document = json.loads(swiftbuild("image", "--json", cwd=tree).stdout)
    assert document["profiles"] == [{"name": "test", "summary": "a profile for tests", "dev": True}]


def test_common_options_stand_before_or_behind(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere")
    for words in (["-C", str(tree), "--json", "image"], ["image", "--json", "-C", str(tree / "packages" / "base")]):
        assert json.loads(swiftbuild(*words, cwd=other).stdout)["profiles"][0]["name"] == "test"
    done = swiftbuild("image", cwd=other)
    assert done.returncode == 2
    assert "not inside a swift-os repository" in done.stderr
    assert "hint:" in done.stderr


def test_the_repository_is_found_from_any_folder_inside(tree: Path) -> None:
    assert find_root(tree / "packages" / "base") == tree
    with pytest.raises(UsageError):
        find_root(Path("/"))


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["image", "--profile", "qemo"], 2, "no profile 'qemo'; there are: test"),
        (["image", "--profil", "x"], 2, "No such option"),
        (["image", "-p", "test", "--out", "/"], 2, "no place for an image"),
        (["image", "-p", "test", "--out", "/dev/null"], 2, "no place for an image"),
        (["image", "-p", "test", "--password-hash", "secret"], 2, "not a SHA-512-crypt hash"),
        (["image", "-p", "test", "--ssh-key", "/nonexistent"], 2, "cannot be read"),
        (["image", "-p", "test", "--with", "nothing"], 2, "--with nothing: no such package; there are: base, hello"),
        (["image", "-p", "test", "--with", "hello"], 2, "--with hello: the image has it without that"),
        (["image", "--profile", "tset"], 2, "no profile 'tset'; there are: test; did you mean 'test'?"),
        (["run", "--profile", "tset"], 2, "no profile 'tset'; there are: test; did you mean 'test'?"),
        (["boot", "pipeline/profiles/test.tml"], 2, "test.tml; did you mean 'pipeline/profiles/test.toml'?"),
        (["imgae"], 2, "Did you mean 'image'?"),
        (["package", "build", "helo"], 2, "helo: no such package; there are: base, hello; did you mean 'hello'?"),
        (["package", "inspect", "x"], 2, "package inspect x: no such package; there are: base, hello"),
        (["package", "update", "helo"], 2, "Debian package 'helo'; there are: hello; did you mean 'hello'?"),
        (["package", "update", "nothing"], 2, "no recipe takes the Debian package 'nothing'"),
        (["package", "add", "hello"], 2, "is there already"),
    ],
)
def test_a_mistake_has_its_exit_status_and_leaves_nothing(
    tree: Path, words: list[str], status: int, message: str
) -> None:
    before = {path for path in tree.rglob("*") if "build" not in path.parts}
    done = swiftbuild(*words, cwd=tree)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert {path for path in tree.rglob("*") if "build" not in path.parts} == before


def test_an_error_is_one_json_document_with_json(tree: Path) -> None:
    done = swiftbuild("image", "-p", "none", "--json", cwd=tree)
    document = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode == 2
    assert document["error"].startswith("no profile 'none'")


def test_an_unknown_profile_key_names_file_and_key(tree: Path) -> None:
    path = tree / "pipeline/profiles/test.toml"
    path.write_text(path.read_text().replace("hostname", "hostnam"))
    done = swiftbuild("image", "-p", "test", cwd=tree)
    assert done.returncode == 3
    assert "pipeline/profiles/test.toml: unknown key 'hostnam'" in done.stderr


def test_a_key_folder_that_is_named_must_be_there(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keys")
    done = swiftbuild("image", "-p", "test", "--dry-run", cwd=tree, env={"SWIFTBUILD_KEYS": str(folder)})
    assert done.returncode == 3
    assert "0 files root*.pub" in done.stderr
    (folder / "root.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    done = swiftbuild("image", "-p", "test", "--dry-run", cwd=tree, env={"SWIFTBUILD_KEYS": str(folder)})
    assert done.returncode == 3
    assert "not an Ed25519 public key" in done.stderr


def test_a_dry_run_says_what_and_why_and_makes_dev_keys_once(tree: Path) -> None:
    first = json.loads(swiftbuild("image", "-p", "test", "--dry-run", "--json", cwd=tree).stdout)
    why = {row["name"]: row["why"] for row in first["actions"]}
    assert why["kernel"] == "never built here"
    assert why["disk/test"].startswith("if the output of")
    assert first["stale"] == len(why)
    key = (tree / "keys/dev/root.pub").read_bytes()
    assert (tree / "keys/dev/root.pem").stat().st_mode & 0o777 == 0o600
    swiftbuild("image", "-p", "test", "--dry-run", cwd=tree)
    assert (tree / "keys/dev/root.pub").read_bytes() == key
    assert not (tree / "build/images").exists()


def test_a_failed_child_gives_a_line_to_paste(tree: Path) -> None:
    done = swiftbuild("build", "-p", "test", cwd=tree)  # its Cargo.toml has no crate
    assert done.returncode == 5
    line = done.stderr.split("to see it again:\n")[1].splitlines()[0].strip()
    again = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode != 0
    assert again.stderr.splitlines()[-1] in done.stderr


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + SECONDS
    while text not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.05)


STALL = """\
import sys
import typer
from swiftbuild.cli.session import command
from swiftbuild.cli.workshop import workshop
from swiftbuild.core.plan import Action
app = typer.Typer()
@app.command()
@command
def stall(session, pid: str):
    with workshop(session) as shop:
        def run(work):
            shop.processes.run(["/bin/sh", "-c", "sleep 300 & echo $! > $0; echo started; wait", pid])
        shop.run({"stall": Action("stall", "sleeps", run, ("out",))}, force=False)
app()
"""


def stall(tree: Path) -> subprocess.Popen[bytes]:
    """A build that sleeps. A background job of sh has SIGINT ignored; here it is as at a terminal."""
    words = ["/usr/bin/env", "--default-signal=INT", sys.executable, "-c", STALL, "-C", str(tree), str(tree / "pid")]
    return subprocess.Popen(words, start_new_session=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupt_ends_the_children(tree: Path, number: signal.Signals, status: int) -> None:
    pid_file = tree / "pid"
    child = stall(tree)
    wait_for(pid_file, "\n")
    grandchild = int(pid_file.read_text())
    os.kill(child.pid, number)
    assert child.wait(SECONDS) == status
    if number == signal.SIGKILL:  # only the direct child is sure to end; it has ended the moment its parent did
        os.kill(grandchild, signal.SIGKILL)
        return
    end = time.monotonic() + SECONDS
    while running(grandchild):
        assert time.monotonic() < end
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_second_build_waits_and_names_the_first(tree: Path) -> None:
    first = stall(tree)
    wait_for(tree / "pid", "\n")
    log = tree / "second.log"
    with log.open("w") as out:
        second = subprocess.Popen([sys.executable, "-m", "swiftbuild", "image", "-p", "test", "--dry-run"], cwd=tree,
                                  stderr=out, stdout=out)
    wait_for(log, f"another build (process {first.pid}) is running here")
    assert second.poll() is None
    first.send_signal(signal.SIGINT)
    assert first.wait(SECONDS) == 130
    assert second.wait(60) == 0


@pytest.mark.parametrize("words", [["--help"], ["doctor"], ["image"], ["image", "-p", "test", "--dry-run"]])
def test_commands_import_only_what_they_use(tree: Path, words: list[str]) -> None:
    script = (
        "import sys, runpy\nsys.argv = ['swiftbuild', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('swiftbuild', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    swiftbuild("image", "-p", "test", "--dry-run", cwd=tree)  # makes the dev keys, which takes cryptography
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=tree, capture_output=True, text=True, check=True)
    loaded = done.stderr.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_no_colour_and_no_live_lines_off_a_terminal(tree: Path) -> None:
    done = swiftbuild("build", "-p", "test", cwd=tree, env={"FORCE_COLOR": "", "NO_COLOR": "1"})
    assert "\x1b[" not in done.stderr + done.stdout
    assert any(line.startswith("  run     ") for line in done.stderr.splitlines())


def test_clean_frees_what_it_says(tree: Path) -> None:
    swiftbuild("image", "-p", "test", "--dry-run", cwd=tree)
    (tree / "build/images").mkdir()
    (tree / "build/images/test.img").write_bytes(b"x" * 10000)
    dry = json.loads(swiftbuild("clean", "--dry-run", "--json", cwd=tree).stdout)
    assert [Path(row["path"]).name for row in dry["removed"]] == ["images"]
    assert (tree / "build/images").exists()
    swiftbuild("clean", cwd=tree)
    assert not (tree / "build/images").exists()
    assert (tree / "build/store").exists()
    swiftbuild("clean", "--cache", cwd=tree)
    assert not (tree / "build/store").exists()


def test_clean_keeps_machines_unless_they_are_named(tree: Path) -> None:
    disk = tree / "build/machines/mine/disk.qcow2"
    disk.parent.mkdir(parents=True)
    disk.write_bytes(b"x" * 10000)
    told = swiftbuild("clean", "--cache", cwd=tree).stdout
    assert f"kept, with the files on their disks:\n  {disk.parent}\nthey go with: swiftbuild clean --machines" in told
    assert json.loads(swiftbuild("clean", "--json", cwd=tree).stdout)["kept"] == [str(disk.parent)]
    with alone(disk.parent / "lock"):
        done = swiftbuild("clean", "--machines", cwd=tree)
        assert done.returncode == 7
        assert f"machine mine is running already (process {os.getpid()})" in done.stderr
    assert disk.read_bytes() == b"x" * 10000
    swiftbuild("clean", "--machines", "--dry-run", cwd=tree)
    assert disk.exists()
    document = json.loads(swiftbuild("clean", "--machines", "--json", cwd=tree).stdout)
    assert document["kept"] == [] and [row["path"] for row in document["removed"]] == [str(tree / "build/machines")]
    assert not disk.parent.exists()
