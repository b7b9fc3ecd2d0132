"""`make soak`: tests whose every case is another seed, for as many rounds as one likes. Stops at the first that fails.

The same tests run in `make test` with a few seeds. A failure prints the seed that repeats it. Runs on the host come
first; then each round records a machine's disk anew, and tries its states with more samples than the gate does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests import recordings
from tests.rust import ENVIRONMENT, MANIFEST
from tests.system import updatelife
from tests.system.recorded import RefusedError, cuts_of, record, states, violations

OPTIMISED = ("--profile", "fuzz")
"""With every check that a debug build has."""
CASES_PER_ROUND = 50
SAMPLES = 5
"""Times as many as in the gate."""
KEEP = "build"
"""Where a recording that a violation was found in is kept."""


def on_the_host(rounds: int, seed: int) -> int:
    """The pure crate's random operations and recorded runs; an exit status."""
    environment = {
        **ENVIRONMENT, "PROPTEST_CASES": str(rounds * CASES_PER_ROUND), "DATAFS_SOAK_ROUNDS": str(rounds),
        "DATAFS_SOAK_SEED": str(seed),
    }
    for words in (("--test", "model"), ("--test", "powercut", "--", "--ignored", "--nocapture")):
        command = ["/usr/bin/cargo", "test", "-p", "datatool", *OPTIMISED, *MANIFEST, *words]
        done = subprocess.run(command, cwd="/", env=environment, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


def in_machines(rounds: int, seed: int) -> int:
    """Recorded boots; an exit status."""
    totals: Counter[str] = Counter()
    for number in range(seed, seed + rounds):
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            wrong = one_machine(Path(name), number, totals)
            if wrong:
                kept = Path(KEEP) / f"soak-{number}.log"
                kept.write_bytes((Path(name) / "log" / "writes.log").read_bytes())
                print(f"seed {number}: {len(wrong)} violations; the recording: {kept}", *wrong[:20], sep="\n")
                return 1
        print(f"recording of seed {number}: no violation; so far {dict(totals)}", flush=True)
    return 0


def one_machine(folder: Path, seed: int, totals: Counter[str]) -> list[str]:
    """Records, tries every cut, counts; what is wrong."""
    recording = record(folder)
    cuts = cuts_of(recording.before, recording.log, folder / "log", f"--seed={seed}", f"--more={SAMPLES}")
    try:
        counts = cuts.sweep(folder / "states")
    except RefusedError as refused:
        return [str(refused)]
    found = list(states(folder / "states", recordings.marks(recording.log)))
    totals.update({**counts, "recordings": 1, "contents": len(found)})
    return list(violations(recording.judges, found))


def of_updates(rounds: int, seed: int) -> int:
    """Recorded lives with updates; an exit status."""
    for number in range(seed, seed + rounds):
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            recording = updatelife.lived(Path(name))
            found = updatelife.outcomes(recording, seed=number, samples=SAMPLES * updatelife.SAMPLED)
        print(f"life of seed {number}: {updatelife.table(recording, found)}", flush=True)
        if wrong := updatelife.wrong(found):
            print(f"seed {number}: cuts that boot what they may not: {wrong}")
            return 1
    return 0


def main() -> int:
    rounds = int(os.environ.get("DATAFS_SOAK_ROUNDS", "20"))
    seed = int(os.environ.get("DATAFS_SOAK_SEED", "1"))
    return on_the_host(rounds, seed) or in_machines(rounds, seed) or of_updates(rounds, seed)


if __name__ == "__main__":
    sys.exit(main())
