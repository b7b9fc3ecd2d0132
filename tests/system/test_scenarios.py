"""Every scenario of `swiftbuild verify` once, drawn by a fixed seed, on the images of this tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from swiftbuild.core import proof
from swiftbuild.core.proof import Run
from swiftbuild.scenarios import catalogue, worker
from swiftbuild.scenarios.bench import Bench
from swiftbuild.scenarios.subject import Subject, subjects

from tests.system.conftest import image_of, password, spec
from tests.variants import DEV, slot_image

pytestmark = [pytest.mark.system]
SEED = 6
PROFILES = ("qemu", "hetzner")
KINDS: tuple[proof.Kind, ...] = ("own", "next")
MARKS = {catalogue.RELEASE_GATE: pytest.mark.release_test, catalogue.ROLLBACK_GATE: pytest.mark.rollback_test}


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[proof.Chain, Subject]:
    """The releases of the images, and those that follow."""
    folder = tmp_path_factory.mktemp("subjects")
    return {subject.chain: subject for name in PROFILES
            for subject in subjects(slot_image(image_of(name)), (), image_of(name), DEV, folder)}


def drawn() -> list[Run]:
    """Which machine each scenario has."""
    chains = [proof.Chain(name, "", "", kind) for name in PROFILES for kind in KINDS]
    return proof.bounded(catalogue.CATALOGUE, chains, SEED)


@pytest.mark.parametrize(
    "run", [pytest.param(run, marks=MARKS[catalogue.scenario(run.scenario).gate], id=run.scenario) for run in drawn()])
def test_scenario(run: Run, found: dict[proof.Chain, Subject], tmp_path: Path) -> None:
    (subject,) = (subject for chain, subject in found.items()
                  if (chain.profile, chain.kind) == (run.profile, run.chain.kind))
    worker.run(catalogue.scenario(run.scenario), Bench(
        spec=spec(run.profile, cpus=run.cpus), folder=tmp_path, image=subject.image, old=subject.old.read_bytes(),
        new=subject.new.read_bytes(), password=password(run.profile, "root"), keys=DEV))
