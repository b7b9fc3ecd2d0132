"""Runs one scenario in a process of its own: a job in JSON on stdin, its outcome in JSON on stdout.

A process can be ended, whatever it waits for, and its machines end with it (`machine.signals`).
"""

from __future__ import annotations

import hashlib
import sys
import time
import traceback
from pathlib import Path

from swiftbuild.effects.keys import KeyFolder
from swiftbuild.effects.project import load_profile
from swiftbuild.errors import BootError, ProofError, SwiftbuildError
from swiftbuild.machine import qemu
from swiftbuild.machine.signals import unwinding
from swiftbuild.machine.spec import spec
from swiftbuild.model.event import Event
from swiftbuild.model.proof import Job, Outcome, Status
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.catalogue import scenario
from swiftbuild.wire.event import Cleaner, Lines


def bench(job: Job) -> Bench:
    """What the scenario is given."""
    machine = spec(job.profile, load_profile(Path(job.root), job.profile).board, cpus=job.cpus)
    return Bench(
        spec=machine, folder=Path(job.folder), image=Path(job.image), old=Path(job.old).read_bytes(),
        new=Path(job.new).read_bytes(), password=job.password, keys=KeyFolder(Path(job.keys)) if job.keys else None,
        tell=lambda _: None,
    )  # fmt: skip


def outcome(job: Job) -> Outcome:
    """Runs it. What the release does wrong is told, not raised."""
    begin = time.monotonic()
    status: Status = "passed"
    message = ""
    try:
        scenario(job.scenario).run(bench(job))
    except (ProofError, BootError) as error:
        status, message = "failed", error.message
    except SwiftbuildError as error:
        status, message = "error", error.message
    except Exception:  # a mistake of ours is a result too, and must not look like one of the release
        status, message = "error", traceback.format_exc()
    logs = {path.parent.name: path.read_bytes() for path in sorted(Path(job.folder).glob("boot-*/console.log"))}
    panics = {name: why for name, raw in logs.items() if (why := panic(raw))}
    return Outcome(status=status, message=message, seconds=time.monotonic() - begin, boots=qemu.started, panics=panics,
                   logs={name: hashlib.sha256(raw).hexdigest() for name, raw in logs.items()})


def panic(log: bytes) -> str:
    """Why the kernel panicked, in a console's bytes; empty when it did not."""
    found = Lines().feed(Cleaner().feed(log.decode(errors="replace")))
    return next((event.get("why") for event in found if isinstance(event, Event) and event.name == "kernel.panic"), "")


def main() -> None:
    """The process."""
    with unwinding():
        job = Job.model_validate_json(sys.stdin.read())
        sys.stdout.write(outcome(job).model_dump_json())


if __name__ == "__main__":
    main()
