"""Results of scenarios that are kept: what passed once, on the same bytes by the same harness, need not run again.

Console logs lie in `logs/SHA256.log`, read-only, and are never replaced: a record that was signed names them. A result,
`results/KEY.json`, is written last, whole, when its logs are there.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from swiftbuild.digest import sha256, sha256_file
from swiftbuild.effects.files import write_atomic
from swiftbuild.model.proof import Outcome

LOGS = "logs"


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
        whole = all(self._digest(boot.log) == boot.log for boot in found.boots)
        return found if whole and found.status == "passed" else None

    def keep(self, key: str, outcome: Outcome, logs: list[bytes]) -> None:
        """Remembers how a run ended, and its console logs."""
        for folder in (LOGS, "results"):
            (self.place / folder).mkdir(parents=True, exist_ok=True)
        for raw in logs:
            place = self._log(sha256(raw))
            if self._digest(place.stem) != place.stem:
                write_atomic(place, raw, 0o444)
        write_atomic(self.place / "results" / f"{key}.json", outcome.model_dump_json().encode())

    def _log(self, digest: str) -> Path:
        return self.place / LOGS / f"{digest}.log"

    def _digest(self, digest: str) -> str:
        path = self._log(digest)
        return sha256_file(path) if path.is_file() else ""
