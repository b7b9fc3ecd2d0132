"""A person at the console, played: logs in, types commands, presses keys."""

from __future__ import annotations

import base64
import io
import itertools
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from swiftbuild.machine.console import Console

LOGIN_SECONDS = 60.0
COMMAND_SECONDS = 60.0
PROMPT = r"[#$] $"
"""A shell's; behind an event the kernel shows it again."""


@dataclass(frozen=True)
class Answer:
    """What a command printed and its exit status."""

    text: str
    status: int


class Person:
    """At one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._numbers = itertools.count(1)

    def log_in(self, user: str, password: str) -> None:
        """At the login prompt; returns at the shell's prompt."""
        self.give_name_and_password(user, password)
        self.console.event("login.ok", seconds=LOGIN_SECONDS, user=user)
        self.console.expect(PROMPT, seconds=LOGIN_SECONDS)

    def give_name_and_password(self, user: str, password: str) -> None:
        """Answers both prompts."""
        self.console.expect(r"login: ", seconds=LOGIN_SECONDS)
        self.console.send(f"{user}\n")
        self.console.expect(r"Password: ", seconds=LOGIN_SECONDS)
        self.console.send(f"{password}\n")

    def run(self, command: str, *, seconds: float = COMMAND_SECONDS) -> Answer:
        """Types a command line. Its output stands between two marks, which the echo of the line does not contain."""
        number = next(self._numbers)
        # the quotes keep the echoed line from looking like the mark itself
        quoted = shlex.quote(command)
        self.console.send(f"echo '<<'{number}; eval {quoted}; echo '>>'{number} $?\n")
        self.console.expect(rf"<<{number}\n", seconds=seconds)
        # no ".*?" before it: each piece that arrives would be searched from each of its characters to its end
        end = self.console.expect(rf">>{number} (\d+)\n", seconds=seconds)
        self.console.expect(PROMPT, seconds=seconds)
        return Answer(end.string[end.pos : end.start()].removesuffix("\n"), int(end[1]))

    def output(self, command: str, *, seconds: float = COMMAND_SECONDS) -> str:
        """What a command printed; it must succeed."""
        answer = self.run(command, seconds=seconds)
        if answer.status:
            raise self.console.error(f"{command!r} ended with status {answer.status}: {answer.text}")
        return answer.text

    def type_file(self, path: str, contents: str, *, through: str = "cat") -> None:
        """Feeds a here-document to a command, a line at a time, as a person pastes it."""
        self.console.send(f"{through} >{path} <<'END-OF-FILE'\n")
        for line in [*contents.splitlines(), "END-OF-FILE"]:
            self.console.expect(r"> $", seconds=COMMAND_SECONDS)
            self.console.send(f"{line}\n")
        self.console.expect(r"END-OF-FILE\n(?:.*\n)*?.*" + PROMPT, seconds=COMMAND_SECONDS)

    def unpack(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Puts files into a folder of the guest: as a compressed archive, in letters, through the terminal."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, contents in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(contents), 0o755
                archive.addfile(member, io.BytesIO(contents))
        self.output(f"mkdir -p {folder}")
        self.type_file(f"{folder}/.archive", base64.encodebytes(packed.getvalue()).decode(), through="base64 -d")
        self.output(f"cd {folder} && tar -xzf .archive && chmod -R a+rX . && cd -")

    def press(self, keys: str, *, until: str, seconds: float = COMMAND_SECONDS) -> None:
        """Sends keys as they are and waits for what they must bring."""
        self.console.send(keys)
        self.console.expect(until, seconds=seconds)
