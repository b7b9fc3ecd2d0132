"""What every command shares: the repository, the common options, and the way results and errors are shown.

Data goes to stdout, everything else to stderr. With --json stdout carries exactly one JSON document.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, NoReturn, ParamSpec

import typer

from swiftbuild.errors import CommandError, InterruptError, SpaceError, SwiftbuildError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

PANEL = "Common options"
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=PANEL)]
VerboseOption = Annotated[
    int, typer.Option("-v", "--verbose", count=True, help="Show more: -v commands, -vv their output.",
                      rich_help_panel=PANEL)
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Show errors and the result only.",
                                           rich_help_panel=PANEL)]
DirectoryOption = Annotated[
    Path | None, typer.Option("-C", metavar="DIR", help="Work in the repository at DIR.", rich_help_panel=PANEL)
]


@dataclass
class Common:
    """Options given before the command's name; those given after it are added to them."""

    json: bool = False
    verbose: int = 0
    quiet: bool = False
    directory: Path | None = None


@dataclass
class Session:
    """One run of one command."""

    root: Path
    json: bool = False
    verbosity: int = 0
    """-1 quiet, 0 usual, 1 commands, 2 their output."""
    environment: dict[str, str] = field(default_factory=dict)

    @functools.cached_property
    def console(self) -> Console:
        """The terminal on stderr; rich honours NO_COLOR and what is not a terminal."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str, *, level: int = 0) -> None:
        """A line for the person, unless they asked for less."""
        if self.verbosity >= level:
            print(text, file=sys.stderr, flush=True)

    def result(self, document: dict[str, Any], text: str) -> None:
        """The command's result: the document with --json, else the text."""
        print(json.dumps(document, indent=2, sort_keys=True) if self.json else text.rstrip("\n"), flush=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is found to be wrong within has the file's name in its message."""
    try:
        yield
    except SwiftbuildError as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
        raise


def find_root(start: Path) -> Path:
    """The repository that `start` lies in, from any folder inside."""
    for folder in (start, *start.parents):
        if (folder / "pipeline" / "profiles").is_dir() and (folder / "VERSION").is_file():
            return folder
    raise UsageError(f"{start} is not inside a swift-os repository",
                     hint="go into the repository, or name it with -C DIR")


common = Common()
P = ParamSpec("P")


def command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Gives a command the common options; the function gets them as its first argument, a `Session`."""
    own = inspect.signature(function, eval_str=True)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (
            ("json_", False, JsonOption),
            ("verbose", 0, VerboseOption),
            ("quiet", False, QuietOption),
            ("directory", None, DirectoryOption),
        )
    ]

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.pop("json_")) or common.json
        verbose = int(str(kwargs.pop("verbose"))) + common.verbose
        quiet = bool(kwargs.pop("quiet")) or common.quiet
        named = kwargs.pop("directory") or common.directory
        with reporting(as_json=as_json):
            start = Path(str(named)) if named else Path.cwd()
            session = Session(
                root=find_root(start.resolve()),
                json=as_json,
                verbosity=-1 if quiet else verbose,
                environment=dict(os.environ),
            )
            function(session, *args, **kwargs)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in list(own.parameters.values())[1:]]
    run.__signature__ = own.replace(parameters=[*parameters, *extra])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*parameters, *extra]}
    return run


@contextlib.contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Turns an error into its text and exit status: the one place that does."""
    try:
        yield
    except KeyboardInterrupt:
        _stop(InterruptError("interrupted"), as_json=as_json)
    except SwiftbuildError as error:
        _stop(error, as_json=as_json)
    except OSError as error:
        _stop(_outside(error), as_json=as_json)


def _outside(error: OSError) -> SwiftbuildError:
    """What the machine refused; only a full disk has a fix that we know."""
    what = f"{error.filename or 'a file'}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return SpaceError(f"no space left: {what}", hint="free some, for instance with: swiftbuild clean --cache")
    return SwiftbuildError(what)


def _stop(error: SwiftbuildError, *, as_json: bool) -> NoReturn:
    lines = [f"error: {error.message}"]
    if isinstance(error, CommandError):
        lines += ["", error.output.rstrip("\n"), "", "to see it again:", f"  {error.command}"]
    if error.hint:
        lines += ["", f"hint: {error.hint}"]
    print("\n".join(lines), file=sys.stderr, flush=True)
    if as_json:
        document = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
        print(json.dumps(document, indent=2, sort_keys=True), flush=True)
    raise typer.Exit(error.exit_code)
