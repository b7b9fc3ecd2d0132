"""Results of scenarios that are kept: what passed once, of the same artifact by the same harness, need not run again.

`results/KEY.json` is written last, whole, when the console logs lie in `logs/KEY/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from swiftbuild.digest import sha256_file
from swiftbuild.effects.files import write_atomic
from swiftbuild.model.proof import Outcome


class Results:
    """Below one folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def kept(self, key: str) -> Outcome | None:
        """A run that passed, whose logs are still what they were."""
        try:
            found = Outcome.model_validate_json((self.place / "results" / f"{key}.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        whole = all(self._digest(key, name) == digest for name, digest in found.logs.items())
        return found if whole and found.status == "passed" else None

    def keep(self, key: str, outcome: Outcome, folder: Path) -> None:
        """Takes the console logs out of a run's folder and remembers how it ended."""
        logs = self.place / "logs" / key
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        for name in outcome.logs:
            shutil.copyfile(folder / name / "console.log", logs / f"{name}.log")
        (self.place / "results").mkdir(exist_ok=True)
        write_atomic(self.place / "results" / f"{key}.json", outcome.model_dump_json().encode())

    def logs(self, key: str) -> Path:
        """Where the console logs of a run lie."""
        return self.place / "logs" / key

    def _digest(self, key: str, name: str) -> str:
        path = self.logs(key) / f"{name}.log"
        return sha256_file(path) if path.is_file() else ""
