"""How a scenario's end is told: what the release did wrong, and what is no fault of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.errors import BootError, HostError, InputError, ProofError
from swiftbuild.model.proof import Job
from swiftbuild.scenarios import worker


@pytest.mark.parametrize(("raised", "status"), [
    (None, "passed"), (ProofError("it stayed"), "failed"), (BootError("no prompt"), "failed"),
    (HostError("no memory for QEMU"), "error"), (InputError("no such function"), "error"), (ValueError("our"), "error"),
])  # fmt: skip
def test_only_what_the_release_does_is_its_failure(
    raised: Exception | None, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        if raised:
            raise raised

    monkeypatch.setattr(worker, "bench", lambda _: None)
    monkeypatch.setattr(worker, "run", run)
    job = Job(scenario="boot", profile="qemu", cpus=1, root=".", folder=str(tmp_path), image="", old="", new="",
              password="", keys=None)  # fmt: skip
    outcome = worker.outcome(job)
    assert outcome.status == status
    assert (str(raised) in outcome.message) if raised else outcome.message == ""
