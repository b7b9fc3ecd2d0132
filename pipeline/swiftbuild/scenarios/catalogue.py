"""The scenarios that decide: one list for `swiftbuild verify` and for pytest, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swiftbuild.core.names import choice
from swiftbuild.errors import UsageError
from swiftbuild.scenarios import failing, good, rot, trust
from swiftbuild.scenarios.bench import Bench

RELEASE_GATE, ROLLBACK_GATE = "release-test", "rollback-test"
CPUS = (1, 4)
"""Numbers of processors that a scenario is tried with."""


@dataclass(frozen=True)
class Scenario:
    """What must happen, and what it takes."""

    name: str
    gate: str
    run: Callable[[Bench], None]
    boots: int
    """How many it starts, about: for an estimate."""
    signs: bool = False
    """It makes releases of its own, so the machine must take those of throw-away keys."""
    cpus: tuple[int, ...] = CPUS

    @property
    def summary(self) -> str:
        """In words: the first sentence of the function."""
        return " ".join((self.run.__doc__ or "").split())


CATALOGUE = (
    Scenario("boot", RELEASE_GATE, good.boots, 1, cpus=(1, 2, 4, 8)),
    Scenario("update-and-rollback", RELEASE_GATE, good.update_and_rollback, 3),
    Scenario("unattended-update", RELEASE_GATE, good.unattended, 2),
    Scenario("three-updates", RELEASE_GATE, good.three_in_a_row, 6, signs=True),
    Scenario("cancelled-and-resumed", RELEASE_GATE, good.cancelled_and_resumed, 2),
    Scenario("cut-and-resumed", RELEASE_GATE, good.cut_and_resumed, 3),
    Scenario("commit-cut", RELEASE_GATE, good.commit_cut, 3),
    Scenario("root-writes-nothing", RELEASE_GATE, good.root_writes_nothing, 1),
    Scenario("refusals", RELEASE_GATE, trust.refusals, 1, signs=True),
    Scenario("keys-rotated-and-kept", RELEASE_GATE, trust.rotated_and_kept, 2, signs=True),
    Scenario("keys-rotated-and-given-up", ROLLBACK_GATE, trust.rotated_and_given_up, 5, signs=True),
    Scenario("kernel-panic", ROLLBACK_GATE, failing.kernel_panics, 5, signs=True),
    Scenario("no-init", ROLLBACK_GATE, failing.no_init, 5, signs=True),
    Scenario("kernel-hang", ROLLBACK_GATE, failing.kernel_hangs, 5, signs=True),
    Scenario("userland-hang", ROLLBACK_GATE, failing.userland_hangs, 5, signs=True),
    Scenario("reboot-loop", ROLLBACK_GATE, failing.restarts_for_ever, 5, signs=True),
    Scenario("check-fails", ROLLBACK_GATE, failing.check_fails, 5, signs=True),
    Scenario("check-fails-late", ROLLBACK_GATE, failing.check_fails_late, 5, signs=True),
    Scenario("operator-check-fails", ROLLBACK_GATE, failing.check_of_the_operator_fails, 5),
    Scenario("good-slot-stops-booting", ROLLBACK_GATE, failing.good_slot_stops_booting, 6, signs=True),
    Scenario("bit-in-header", ROLLBACK_GATE, rot.header, 2),
    Scenario("bit-in-kernel", ROLLBACK_GATE, rot.kernel, 2),
    Scenario("bit-in-base", ROLLBACK_GATE, rot.erofs, 5),
    Scenario("bit-in-tree", ROLLBACK_GATE, rot.tree, 5),
    Scenario("bit-unread", ROLLBACK_GATE, rot.unread, 3),
    Scenario("slot-truncated", ROLLBACK_GATE, rot.truncated, 5),
    Scenario("both-slots-damaged", ROLLBACK_GATE, rot.both_slots, 2),
    Scenario("boot-control-lost", ROLLBACK_GATE, rot.control_block, 2),
    Scenario("floor-of-the-maximum", ROLLBACK_GATE, rot.floor_of_the_maximum, 2),
    Scenario("data-volume-damaged", RELEASE_GATE, rot.data_volume, 2),
    Scenario("data-feature-rolled-back", ROLLBACK_GATE, rot.data_feature, 3),
)


def scenario(name: str) -> Scenario:
    """The one of that name."""
    found = next((entry for entry in CATALOGUE if entry.name == name), None)
    if found is None:
        raise UsageError(f"no scenario is called {name!r}{choice(name, [entry.name for entry in CATALOGUE])}")
    return found
