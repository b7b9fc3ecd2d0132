"""Runs one scenario in a process of its own: a job in JSON on stdin, its outcome in JSON on stdout.

A process can be ended, whatever it waits for, and its machines end with it (`machine.signals`).
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

from swiftbuild.core import bootlog, proof
from swiftbuild.digest import sha256
from swiftbuild.effects.keys import KeyFolder
from swiftbuild.effects.project import load_profile
from swiftbuild.errors import BootError, HostError, ProofError, SwiftbuildError
from swiftbuild.machine.signals import unwinding
from swiftbuild.machine.spec import spec
from swiftbuild.model.proof import BootRecord, Job, Outcome, Status
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.catalogue import Scenario, scenario
from swiftbuild.scenarios.disk import logs


def bench(job: Job) -> Bench:
    """What the scenario is given."""
    machine = spec(job.profile, load_profile(Path(job.root), job.profile).board, cpus=job.cpus)
    return Bench(
        spec=machine, folder=Path(job.folder), image=Path(job.image), old=Path(job.old).read_bytes(),
        new=Path(job.new).read_bytes(), password=job.password, keys=KeyFolder(Path(job.keys)) if job.keys else None,
        tell=lambda _: None,
    )  # fmt: skip


def run(chosen: Scenario, given: Bench) -> None:
    """Runs a scenario, and looks at it from outside: its boots must be those of its story.

    Raises ProofError, BootError: the release did not do what it must.
    """
    chosen.run(given)
    words = [bootlog.boot(raw).word for raw in logs(given.folder)]
    if not proof.tells(chosen.story, words):
        raise ProofError(f"its boots were {' '.join(words)!r}, expected {chosen.story!r}")


def outcome(job: Job) -> Outcome:
    """How it went. What the release does wrong is told, not raised."""
    begin = int(time.time())
    status: Status = "passed"
    message = ""
    try:
        run(scenario(job.scenario), bench(job))
    except HostError as error:
        status, message = "error", _text(error)
    except (ProofError, BootError) as error:
        status, message = "failed", _text(error)
    except SwiftbuildError as error:
        status, message = "error", _text(error)
    except Exception:  # a mistake of ours is a result too, and must not look like one of the release
        status, message = "error", traceback.format_exc()
    boots = tuple(BootRecord(log=sha256(raw), word=told.word, panic=told.panic)
                  for raw in logs(Path(job.folder)) for told in (bootlog.boot(raw),))
    return Outcome(status=status, message=message, started_at=begin, ended_at=int(time.time()), boots=boots)


def _text(error: SwiftbuildError) -> str:
    return f"{error.message}\nhint: {error.hint}" if error.hint else error.message


def main() -> None:
    """The process."""
    with unwinding():
        job = Job.model_validate_json(sys.stdin.read())
        sys.stdout.write(outcome(job).model_dump_json())


if __name__ == "__main__":
    main()
