"""A scripted session over the console."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.machine.spec import Spec
from swiftbuild.scenarios.boot import booting
from swiftbuild.scenarios.session import Person

from tests.system.conftest import BOOT_SECONDS, ROOT, image_of, password, spec, to_prompt

pytestmark = [pytest.mark.system, pytest.mark.session_test]
MACHINES = [spec("qemu", way="direct", cpus=4), spec("hetzner")]
SCRIPTED = spec("qemu", way="direct", cpus=2)
SCRIPT_SECONDS = 300.0


@pytest.mark.parametrize("machine", [pytest.param(m, marks=pytest.mark.xdist_group(f"session-{m.profile}"),
                                                  id=m.profile) for m in MACHINES])  # fmt: skip
def test_session(machine: Spec, tmp_path: Path) -> None:
    with booting(machine, image_of(machine.profile), folder=tmp_path) as running:
        to_prompt(running)
        console = running.console
        console.rewind("login: ")
        person = Person(console)
        wrong_password_is_refused(person)
        person.log_in("root", password(machine.profile, "root"))
        shell(person)
        jobs(person)
        files(person)
        editor(person)
        events_between(person)
        system(person, machine)
        person.console.send("exit\n")
        person.log_in("guest", password(machine.profile, "guest"))
        guest(person)
        person.console.send("exit\n")
        person.log_in("root", password(machine.profile, "root"))
        console.send("poweroff\n")
        assert running.ended(seconds=BOOT_SECONDS) == "guest-shutdown"
        assert any(event.name == "system.halt" for event in console.events)
        assert console.malformed == []


SCRIPTS = {path.name: path.read_bytes() for path in sorted((ROOT / "tests" / "guest").glob("*.sh"))}
AS_GUEST = ("guest.sh",)


@pytest.mark.xdist_group("scripts")
def test_scripts_in_the_guest(tmp_path: Path) -> None:
    """tests/guest, which a Linux host runs alike: as root, and what is for an ordinary user as guest."""
    with booting(SCRIPTED, image_of("qemu", "sqlite3"), folder=tmp_path) as running:
        to_prompt(running)
        running.console.rewind("login: ")
        person = Person(running.console)
        person.log_in("root", password("qemu", "root"))
        person.unpack("/tmp/scripts", SCRIPTS)
        failures = [run_script(person, name) for name in SCRIPTS if name not in {"lib.sh", *AS_GUEST}]
        person.console.send("exit\n")
        person.log_in("guest", password("qemu", "guest"))
        failures += [run_script(person, name) for name in AS_GUEST]
        assert "".join(failures) == ""


def run_script(person: Person, name: str) -> str:
    """What went wrong in one script; empty when all of it is right."""
    answer = person.run(f"sh /tmp/scripts/{name}", seconds=SCRIPT_SECONDS)
    lines = answer.text.splitlines()
    summary = next((line for line in lines if line.startswith(f"{name}: passed ")), "it did not come to its end")
    if answer.status == 0 and summary.endswith(" failed 0"):
        return ""
    wrong = [line for line in lines if line.startswith("not ok")]
    return "\n".join([f"{name}: status {answer.status}, {summary}", *wrong, *([] if wrong else lines[-10:]), ""])


def wrong_password_is_refused(person: Person) -> None:
    person.give_name_and_password("root", "wrong")
    person.console.event("login.refused", user="root", seconds=60)
    person.console.expect("Login incorrect", seconds=60)
    person.give_name_and_password("nobody-here", "wrong")
    person.console.event("login.refused", user="-", seconds=60)


def shell(person: Person) -> None:
    """Pipes, redirects, here-documents, conditions, substitution, status."""
    assert person.output("id -u; pwd") == "0\n/root"
    assert person.output("echo one two three | tr ' ' '\\n' | sort -r | head -n 2") == "two\nthree"
    assert person.output("seq 1000 | wc -l") == "1000"
    assert person.output("cd /tmp; echo first >f; echo second >>f; cat <f; wc -c <f") == "first\nsecond\n13"
    assert person.output("ls /none 2>err; cat err").endswith("No such file or directory")
    person.type_file("/tmp/here", "a $HOME\n  'quoted'\n\nlast")
    assert person.output("cat /tmp/here") == "a $HOME\n  'quoted'\n\nlast"
    assert person.run("false").status == 1
    assert person.run("no-such-program").status == 127
    assert person.run("sh -c 'kill -SEGV $$'").status == 139
    assert person.output("for i in 1 2 3; do echo $((i * i)); done | tr '\\n' ,") == "1,4,9,"
    assert person.output("x=$(echo inner); test -d /etc && echo $x") == "inner"


def jobs(person: Person) -> None:
    """Background jobs, waiting, stopping with keys."""
    assert person.output("sleep 1 & wait $!; echo done").endswith("done")
    assert "Running" in person.output("sleep 100 & jobs")
    assert person.run("kill %1; wait %1").status == 143
    console = person.console
    foreground = "sh -c 'echo go; sleep 1000'\n"  # it runs once it has spoken: keys before that are the shell's
    console.send(foreground)
    console.expect(r"\ngo\n", seconds=30)
    console.send("\x03")
    console.expect(r"# $", seconds=30)
    console.send("echo =$?\n")
    console.expect(r"=130\n(.|\n)*# $", seconds=30)
    console.send(foreground)
    console.expect(r"\ngo\n", seconds=30)
    console.send("\x1a")
    console.expect(r"Stopped(.|\n)*# $", seconds=30)
    assert "Stopped" in person.output("jobs")
    person.run("kill %1; fg")


def files(person: Person) -> None:
    """tmpfs holds what is written; the base does not let itself be written."""
    assert person.output("mkdir -p /tmp/a/b && cp /bin/busybox /tmp/a/b/ && cmp /bin/busybox /tmp/a/b/busybox; echo $?"
                         ) == "0"  # fmt: skip
    assert person.output("cd /tmp/a && mv b c && ln -s c d && ls d; cd /; rm -r /tmp/a; ls -d /tmp/a 2>&1 | wc -l"
                         ) == "busybox\n1"  # fmt: skip
    answer = person.run("echo x >/etc/motd")
    assert answer.status != 0 and "Read-only file system" in answer.text
    assert person.output("dd if=/dev/urandom bs=1k count=64 2>/dev/null | wc -c") == "65536"


def editor(person: Person) -> None:
    """vi, driven by keys: insert, move, delete a line, write, quit."""
    console = person.console
    console.send("vi /tmp/edited\n")
    console.expect(r"/tmp/edited", seconds=60)
    # an escape is followed by a pause: vi takes what comes at once for a function key
    person.press("ihello\rworld\rthird\x1b", until=r"- /tmp/edited \[Modified\] 3/3")
    person.press("kdd", until="Delete 1 lines")
    person.press("Oabove\x1b", until=r"- /tmp/edited \[Modified\] 2/3")
    console.send(":wq\r")
    console.expect(r"# $", seconds=60)
    assert person.output("cat /tmp/edited") == "hello\nabove\nthird"


def events_between(person: Person) -> None:
    """An event begins a line, and what was being typed is shown again behind it: in the shell's editor and in cat's."""
    console = person.console
    for number, (command, line, typed) in enumerate([("", "# ", "echo hel"), ("cat; ", "\n", "hel")]):
        late = f"(sleep 3; echo 'test.failed what=line why={number}' >/dev/events) & echo go; {command}"
        console.send(f"{late}\n")
        console.expect(r"\ngo\n", seconds=30)
        console.send(typed)
        console.expect(rf"\n\[evt\] test\.failed .* why={number}(?=\n)[^#]*{line}{typed}$", seconds=30)
        console.send("lo\n")
        console.expect(r"lo\nhello\n", seconds=30)
    console.send("\x04")
    console.expect(r"# $", seconds=30)
    assert console.malformed == []


def system(person: Person, machine: Spec) -> None:
    """What the system tells of itself."""
    assert person.output("uname -s; uname -m").split()[1] == "aarch64"
    memory = dict(line.split(":") for line in person.output("cat /proc/meminfo").splitlines())
    total, free = (int(memory[key].split()[0]) for key in ("MemTotal", "MemFree"))
    assert 0 < free < total <= machine.memory_mib * 1024
    top = person.output("top -b -n 1")
    for cpu in range(machine.cpus):
        assert f"cpu{cpu}" in top.lower().replace(" ", ""), top
    assert "boot.ready" in person.output("events")
    assert person.output("ps | grep -c [i]nit") >= "1"


def guest(person: Person) -> None:
    """Not root: cannot read secrets, cannot signal init, cannot stop the machine."""
    assert person.output("id -un") == "guest"
    assert person.output("id -u") != "0"
    assert person.run("cat /etc/shadow").status != 0
    assert person.run("ls /root").status != 0
    assert person.run("kill -9 1").status != 0
    assert person.run("poweroff").status != 0
    assert person.run("echo x >/run/guest-was-here").status != 0
    assert person.output("echo mine >/tmp/mine; cat /tmp/mine") == "mine"
