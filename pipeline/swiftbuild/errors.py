"""One exception root; subclasses are named by what is to blame, each with its exit status.

Lower layers raise with a message (what, where, expected) and a hint (the fix); only the command line prints them.
"""

from __future__ import annotations

from typing import ClassVar


class SwiftbuildError(Exception):
    """The root. `message` says what is wrong and where, `hint` what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SwiftbuildError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class InputError(SwiftbuildError):
    """A file that a person wrote (profile, recipe, lock) is wrong."""

    exit_code = 3


class ToolError(SwiftbuildError):
    """A tool of the machine is missing, too old, or could not be started."""

    exit_code = 4


class CommandError(SwiftbuildError):
    """A child process failed. `command` can be pasted into a shell to see it again."""

    exit_code = 5

    def __init__(self, message: str, *, command: str, status: int, output: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.command = command
        self.status = status
        self.output = output


class DamageError(SwiftbuildError):
    """Bytes that were read do not have the form or the digest they must have."""

    exit_code = 6


class TrustError(DamageError):
    """Those who must have signed something did not. `code` is a stable name for why."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class BootError(SwiftbuildError):
    """A machine did not start, did not become healthy, or panicked."""

    exit_code = 7


class HostError(BootError):
    """QEMU did not start or could not be controlled: that says nothing of what was to be booted."""


class SpaceError(SwiftbuildError):
    """Something does not fit: a section its slot, an image its disk."""

    exit_code = 8


class NetworkError(SwiftbuildError):
    """Something could not be fetched."""

    exit_code = 9


class RefusedError(SwiftbuildError):
    """A rule forbids it: too few have signed, a key that may not, a release that must not leave the desk."""

    exit_code = 10


class ProofError(SwiftbuildError):
    """A release did not do in a scenario what it must."""

    exit_code = 11


class InterruptError(SwiftbuildError):
    """The user pressed Ctrl-C: children have been ended, nothing half-written is left."""

    exit_code = 130
