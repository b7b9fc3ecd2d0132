"""A person at the console, played: logs in, types commands, presses keys."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from swiftbuild.machine.console import Console

LOGIN_SECONDS = 60.0
COMMAND_SECONDS = 60.0


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
        self.console.expect(r"[#$] $", seconds=LOGIN_SECONDS)

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
        self.console.send(f"echo '<<'{number}; {command}\necho '>>'{number} $?\n")
        self.console.expect(rf"<<{number}\n", seconds=seconds)
        match = self.console.expect(rf"(?s)(.*?)>>{number} (\d+)\n", seconds=seconds)
        text = "\n".join(line for line in match[1].split("\n") if "echo '>>'" not in line)
        self.console.expect(r"[#$] $", seconds=seconds)
        return Answer(text.removesuffix("\n"), int(match[2]))

    def output(self, command: str, *, seconds: float = COMMAND_SECONDS) -> str:
        """What a command printed; it must succeed."""
        answer = self.run(command, seconds=seconds)
        if answer.status:
            raise self.console.error(f"{command!r} ended with status {answer.status}: {answer.text}")
        return answer.text

    def type_file(self, path: str, contents: str) -> None:
        """Writes a text file by a here-document, a line at a time, as a person pastes it."""
        self.console.send(f"cat >{path} <<'END-OF-FILE'\n")
        for line in [*contents.splitlines(), "END-OF-FILE"]:
            self.console.expect(r"> $", seconds=COMMAND_SECONDS)
            self.console.send(f"{line}\n")
        self.console.expect(rf"END-OF-FILE\n(.*\n)*?.*[#$] {re.escape('')}$", seconds=COMMAND_SECONDS)

    def press(self, keys: str, *, until: str, seconds: float = COMMAND_SECONDS) -> None:
        """Sends keys as they are and waits for what they must bring."""
        self.console.send(keys)
        self.console.expect(until, seconds=seconds)
