"""init, login and what all programs have in common, as arm64 programs on Linux, under qemu's user mode."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from swiftbuild.wire import elf

from tests.fakes import ROOT
from tests.guests import build, command, program

OURS = ("healthd", "init", "login", "tools")
PT_INTERP, PT_GNU_STACK = 3, 0x6474E551
SIZE_MAX = 96 << 10
"""Of a program: the whole system at the prompt is to take 3.6 MiB."""
OWN_USERS = () if os.geteuid() == 0 else ("--user", "--map-root-user")
"""What unshare wants to make other name spaces."""


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    for package in OURS:
        build(package)


# --- what the files are


@pytest.mark.parametrize("name", OURS)
def test_a_program_is_a_small_static_file_that_maps_in_place(name: str) -> None:
    data = program(name).read_bytes()
    found = elf.read(data, name)
    kinds = dict(headers(data))
    assert found.type == elf.TYPE_EXEC
    assert found.writable_and_executable() == []
    assert all(s.offset % 4096 == s.virtual % 4096 == 0 for s in found.segments)
    assert PT_INTERP not in kinds
    assert kinds[PT_GNU_STACK] & 1 == 0
    assert len(data) < SIZE_MAX


def headers(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and flags of every program header."""
    header = elf.HEADER.unpack_from(data)
    start, count = header[11], header[16]
    for index in range(count):
        kind, flags = elf.PROGRAM.unpack_from(data, start + index * elf.PROGRAM.size)[:2]
        yield kind, flags


@pytest.mark.parametrize("name", OURS)
def test_a_program_names_no_folder_of_its_builder(name: str) -> None:
    data = program(name).read_bytes()
    for folder in (str(ROOT), str(Path.home()) + "/", ".cargo/registry"):
        assert folder.encode() not in data


# --- init


class Init:
    """init with a folder of services; its events come on standard error where there is no /dev/events."""

    def __init__(self, folder: Path, services: dict[str, str], prefix: tuple[str, ...] = ()) -> None:
        self.folder = folder
        declared = folder / "services.d"
        declared.mkdir()
        for name, text in services.items():
            (declared / name).write_text(text)
        self.log = folder / "log"
        words = [*prefix, *command("init", "init", "--services", str(declared))]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def lines(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("[evt] ")]

    def wait_for(self, fits: Callable[[list[str]], bool], seconds: float = 60) -> list[str]:
        """Until the events fit; a deadline only ends a test that has failed."""
        end = time.monotonic() + seconds
        while not fits(lines := self.lines()):
            assert time.monotonic() < end, f"{self.log.read_text()}\n{self.threads()}"
            time.sleep(0.02)
        return lines

    def threads(self) -> str:
        """What init's processes wait for, each thread's state and system call; for a test that has failed."""
        processes = [self.process.pid]
        for process in processes:
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                processes += [int(child) for child in children.read_text().split()]
        tasks = [task for process in processes for task in Path(f"/proc/{process}/task").glob("*")]
        return "\n".join(f"{task} {(task / 'wchan').read_text()} {(task / 'syscall').read_text()}" for task in tasks)

    def pids(self, name: str) -> list[int]:
        start = f"[evt] service.start name={name} pid="
        return [int(line.removeprefix(start).split()[0]) for line in self.lines() if line.startswith(start)]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Init]]:
    running: list[Init] = []

    def begin(services: dict[str, str], *prefix: str) -> Init:
        running.append(Init(folder, services, prefix))
        return running[-1]

    yield begin
    for init in running:
        if init.process.poll() is None:
            init.process.terminate()
            init.process.wait(20)


def script(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_a_second_init_is_refused() -> None:
    done = subprocess.run(command("init", "init"), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "init: the system's services are process 1's to start; --services DIR starts those in DIR\n"


def test_services_start_in_order_and_the_boot_is_ready(start: Callable[..., Init], folder: Path) -> None:
    notify = script(folder, "notify", 'echo up >&"$NOTIFY_FD"; exec sleep 60')
    init = start({
        "a.service": "exec = /bin/sleep\nargs = 60\nafter = b c\nrequired_for_ready = yes\n",
        "b.service": f"exec = {notify}\nready = notify\nrequired_for_ready = yes\n",
        "c.service": "exec = /bin/true\nready = exit\nrestart = never\n",
    })
    lines = init.wait_for(lambda lines: any("boot.ready" in line for line in lines))
    starts = [line.split()[2] for line in lines if "service.start" in line]
    assert starts == ["name=b", "name=c", "name=a"]
    assert lines[-1] == "[evt] boot.ready services=3"
    assert "[evt] service.exit name=c" in "\n".join(lines)


def test_what_fails_is_tried_again_to_its_limit_and_each_wait_doubles(start: Callable[..., Init], folder: Path) -> None:
    stamps = folder / "stamps"
    failing = script(folder, "failing", f"date +%s%N >>{stamps}; exit 3")
    init = start({"x.service": f"exec = {failing}\nbackoff = 200ms\nbackoff_max = 800ms\nrestart_limit = 4\n"})
    lines = init.wait_for(lambda lines: any("service.failed" in line for line in lines))
    assert [line for line in lines if "service.exit" in line][-1].endswith("status=3 restarts=4")
    assert '[evt] service.failed name=x what=restart why="ended 5 times in a row within 5000 ms"' in lines
    times = [int(line) / 1e6 for line in stamps.read_text().split()]
    waits = [after - before for before, after in itertools.pairwise(times)]
    # never sooner than declared; a busy machine may make any of them longer
    assert all(wait >= least for wait, least in zip(waits, (200, 400, 800, 800), strict=True)), waits


def test_a_program_that_is_missing_and_a_bad_file_are_named(start: Callable[..., Init]) -> None:
    init = start({
        "gone.service": "exec = /no/such/program\nrestart = never\n",
        "bad.service": "# one mistake\nexec = /bin/true\nrestrat = always\n",
        "note.txt": "",
    })
    lines = init.wait_for(lambda lines: any("boot.failed" in line for line in lines))
    text = "\n".join(lines)
    assert 'service.failed name=gone what=exec why="no such file or directory"' in text
    assert f"service.failed name=bad what=file file={init.folder}/services.d/bad.service line=3 key=restrat" in text
    assert "service.failed name=note.txt what=file" in text
    assert '[evt] boot.failed what=services why="a service file is not valid"' in text


def test_a_pipe_has_one_writer_and_one_reader_and_outlasts_both(start: Callable[..., Init], folder: Path) -> None:
    """The writer ends before the reader starts; the reader is started again and reads on; nobody else has an end."""
    read = folder / "read"
    writer = script(folder, "writer", 'echo one >&"$PIPE_OUT"; echo two >&"$PIPE_OUT"; exec sleep 60')
    reader = script(folder, "reader", f'read -r line <&"$PIPE_IN"; echo "$line" >>{read}; exit 1')
    other = script(folder, "other", 'echo "${PIPE_IN-none} ${PIPE_OUT-none} $(ls -l /proc/$$/fd | grep -c pipe:)"'
                                    f' >{folder}/other; exec sleep 60')
    once = "restart = never\n"
    init = start({
        "a.service": f"exec = {writer}\npipe_out = p\n{once}",
        "b.service": f"exec = {reader}\npipe_in = p\nbackoff = 10ms\nrestart_limit = 1\n",
        "c.service": f"exec = {other}\n{once}",
    })
    init.wait_for(lambda lines: any("service.failed name=b what=restart" in line for line in lines))
    assert read.read_text() == "one\ntwo\n"
    init.wait_for(lambda _: (folder / "other").exists() and (folder / "other").read_text().endswith("\n"))
    assert (folder / "other").read_text().startswith("none none ")


def test_a_second_owner_of_an_end_is_a_mistake(start: Callable[..., Init]) -> None:
    init = start({
        "a.service": "exec = /bin/sleep\nargs = 60\npipe_out = p\n",
        "b.service": "exec = /bin/sleep\nargs = 60\npipe_out = p\n",
    })
    lines = init.wait_for(lambda lines: any("boot.failed" in line for line in lines))
    text = "\n".join(lines)
    assert f"service.failed name=b what=file file={init.folder}/services.d/b.service line=0 key=pipe_out" in text
    assert "is the end that service 'a' has" in text
    assert init.pids("b") == []


def test_one_that_never_says_that_it_is_up_is_killed(start: Callable[..., Init]) -> None:
    init = start({"mute.service": "exec = /bin/sleep\nargs = 60\nready = notify\nready_timeout = 200ms\n"
                                  "restart_limit = 1\nrequired_for_ready = yes\n"})  # fmt: skip
    lines = init.wait_for(lambda lines: any("boot.failed" in line for line in lines))
    text = "\n".join(lines)
    assert 'service.failed name=mute what=ready why="did not say in time that it is up"' in text
    assert "status=137 restarts=1" in text


def test_a_service_killed_is_started_again_and_stopped_at_the_end(start: Callable[..., Init]) -> None:
    init = start({"x.service": "exec = /bin/sleep\nargs = 60\nrestart = always\n"})
    init.wait_for(lambda _: len(init.pids("x")) == 1)
    os.kill(init.pids("x")[0], signal.SIGKILL)
    init.wait_for(lambda _: len(init.pids("x")) == 2)
    assert "status=137" in "\n".join(init.lines())
    init.process.send_signal(signal.SIGUSR1)
    assert init.process.wait(20) == 0
    assert init.lines()[-1] == "[evt] init.stop request=halt"
    assert not Path(f"/proc/{init.pids('x')[1]}").exists()


def test_one_that_ignores_term_is_killed_at_the_end(start: Callable[..., Init], folder: Path) -> None:
    deaf = script(folder, "deaf", 'trap "" TERM; echo >&"$NOTIFY_FD"; while :; do sleep 1; done')
    init = start({"x.service": f"exec = {deaf}\nready = notify\nrequired_for_ready = yes\n"})
    init.wait_for(lambda lines: any("boot.ready" in line for line in lines))
    init.process.terminate()
    assert init.process.wait(30) == 0
    assert init.lines()[-1] == "[evt] init.stop request=reboot"
    assert not Path(f"/proc/{init.pids('x')[0]}").exists()


@pytest.mark.parametrize(("sent", "ends_by"), [("USR1", "INT"), ("USR2", "INT"), ("TERM", "HUP"), ("INT", "HUP")])
def test_as_process_1_orphans_are_reaped_and_the_system_stops(
    start: Callable[..., Init], folder: Path, sent: str, ends_by: str,
) -> None:
    """In a process namespace of its own, where Linux turns reboot(2) into the end of process 1: by SIGINT for a halt
    or power-off, by SIGHUP for a reboot (reboot(2) of Linux)."""
    leaving = script(folder, "leaving", "(sleep 0.2) & (sleep 60) & echo >&$NOTIFY_FD; exit 0")
    spaces = ("/usr/bin/unshare", *OWN_USERS, "--pid", "--fork", "--uts", "--kill-child")
    init = start({"x.service": f"exec = {leaving}\nready = notify\nrestart = never\n"}, *spaces)
    init.wait_for(lambda lines: any("service.exit name=x" in line for line in lines))
    first = int(Path(f"/proc/{init.process.pid}/task/{init.process.pid}/children").read_text().split()[0])
    children = Path(f"/proc/{first}/task/{first}/children")
    end = time.monotonic() + 30
    # the shell that slept shortly has gone altogether, the other has been adopted
    while len(alive := children.read_text().split()) != 1:
        assert time.monotonic() < end, alive
        time.sleep(0.05)
    os.kill(first, signal.Signals[f"SIG{sent}"])
    status = init.process.wait(30)
    number = signal.Signals[f"SIG{ends_by}"]
    assert status in {-number, 128 + number}, init.log.read_text()
    assert not Path(f"/proc/{alive[0]}").exists()


# --- login


@pytest.fixture
def terminal(folder: Path) -> Iterator[pexpect.spawn]:
    """getty on a terminal, with accounts of its own in place of the machine's."""
    hashed = subprocess.run(["/usr/bin/openssl", "passwd", "-6", "-salt", "pepper", "mellon"], check=True, text=True,
                            capture_output=True).stdout.strip()  # fmt: skip
    fields = {"right": hashed, "locked": f"!{hashed}", "star": "*", "strange": "$y$j9T$abc$def", "open": ""}
    files = {
        "passwd": "".join(f"{name}:x:{1000 + i}:{1000 + i}::/:/bin/sh\n" for i, name in enumerate(fields))
        + "boss:x:0:0::/:/bin/sh\n",
        "group": "right:x:1000:\nwheel:x:10:right\n",
        "shadow": "".join(f"{name}:{field}:1:0:99999:7:::\n" for name, field in [*fields.items(), ("boss", hashed)]),
        "issue": "the banner\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    binds = "; ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in files)
    if not any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        pytest.skip("in a chroot no mount can be kept from the rest of the machine")
    shell = f"set -e; {binds}; exec {' '.join(command('getty', 'login'))}"
    words = ["--mount", *OWN_USERS, "/bin/sh", "-c", shell]
    child = pexpect.spawn("/usr/bin/unshare", words, encoding="utf-8", timeout=60)
    yield child
    child.close(force=True)


def log_in(terminal: pexpect.spawn, user: str, password: str) -> None:
    terminal.expect_exact(" login: ")
    terminal.sendline(user)
    terminal.expect_exact("Password: ")
    terminal.sendline(password)


@pytest.mark.parametrize("attempt", ["right wrong", "locked mellon", "star *", "strange mellon", "open ",
                                     "nobody-here mellon"])  # fmt: skip
def test_a_wrong_login_is_refused_and_does_not_say_why(terminal: pexpect.spawn, attempt: str) -> None:
    user, password = attempt.split(" ")
    log_in(terminal, user, password)
    logged = "-" if user == "nobody-here" else user
    terminal.expect_exact(f"[evt] login.refused user={logged} tty=")
    assert terminal.expect([r"Login incorrect\r\n", r"\$ ", "# "]) == 0
    assert password == "" or password not in terminal.before
    terminal.expect_exact(" login: ")


def test_the_right_password_opens_a_session(terminal: pexpect.spawn) -> None:
    terminal.expect_exact("the banner")
    log_in(terminal, "right", "mellon")
    terminal.expect_exact("[evt] login.ok user=right tty=")
    if os.geteuid() != 0:
        # a user namespace has one user: the change to another must fail, and then there is no session
        terminal.expect_exact("login: cannot become right: operation not permitted")
        terminal.expect(pexpect.EOF)
        return
    terminal.expect(r"\$ ")
    terminal.sendline("set -- $(stty -a | grep -ow -e isig -e echo)")
    terminal.sendline("echo $(id -u) $(id -g) $(id -G) $LOGNAME $0 $* end")
    terminal.expect_exact("1000 1000 1000 10 right -sh isig echo end")


def test_three_wrong_passwords_end_getty(terminal: pexpect.spawn) -> None:
    for _ in range(3):
        log_in(terminal, "right", "wrong")
        terminal.expect_exact("Login incorrect")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1


def test_keys_do_not_end_getty_and_an_empty_name_asks_again(terminal: pexpect.spawn) -> None:
    terminal.expect_exact(" login: ")
    terminal.send("\x03\x1a\x1c\r")  # ^C ^Z ^\
    terminal.expect_exact("Password: ")
    terminal.sendline("x")
    terminal.expect_exact("Login incorrect")
    terminal.expect_exact(" login: ")
    terminal.sendline("")
    terminal.expect_exact(" login: ")


def test_getty_is_up_when_its_prompt_stands(start: Callable[..., Init], folder: Path) -> None:
    """Without a terminal there is no prompt, and the boot fails instead of claiming one."""
    getty = script(folder, "getty", f"exec {' '.join(command('getty', 'login'))}")
    init = start({"console.service": f"exec = {getty}\n"
                                     "ready = notify\nrestart_limit = 1\nrequired_for_ready = yes\n"})  # fmt: skip
    lines = init.wait_for(lambda lines: any("boot." in line for line in lines))
    assert "boot.failed" in lines[-1]
