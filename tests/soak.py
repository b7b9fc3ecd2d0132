"""`make soak`: tests whose every case is another seed, for as many rounds as one likes. Stops at the first that fails.

The same tests run in `make test` with a few seeds. A failure prints the seed that repeats it.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.rust import ENVIRONMENT, MANIFEST

OPTIMISED = ("--profile", "fuzz")
"""With every check that a debug build has."""
CASES_PER_ROUND = 50


def main() -> int:
    rounds = int(os.environ.get("DATAFS_SOAK_ROUNDS", "20"))
    environment = {
        **ENVIRONMENT, "PROPTEST_CASES": str(rounds * CASES_PER_ROUND), "DATAFS_SOAK_ROUNDS": str(rounds),
        "DATAFS_SOAK_SEED": os.environ.get("DATAFS_SOAK_SEED", "1"),
    }
    for words in (("--test", "model"), ("--test", "powercut", "--", "--ignored", "--nocapture")):
        command = ["/usr/bin/cargo", "test", "-p", "datatool", *OPTIMISED, *MANIFEST, *words]
        done = subprocess.run(command, cwd="/", env=environment, check=False)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
