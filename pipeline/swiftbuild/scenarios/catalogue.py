"""The scenarios that decide: one list for `swiftbuild verify` and for pytest, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swiftbuild.core.names import choice
from swiftbuild.core.proof import Needs
from swiftbuild.errors import UsageError
from swiftbuild.scenarios import failing, good, loader, rot, trust
from swiftbuild.scenarios.bench import Bench

RELEASE_GATE, ROLLBACK_GATE = "release-test", "rollback-test"
NEVER_GOOD = "ar ar ar|ar b[rf] b[rf] b[rf] ar"
"""Refused by the loader at once, or given up after three boots."""
CPUS = (1, 4)
"""Numbers of processors that a scenario is tried with."""


@dataclass(frozen=True)
class Scenario:
    """What must happen, what it takes, and what it looks like from outside: its boots (`core.proof.tells`)."""

    name: str
    gate: str
    run: Callable[[Bench], None]
    needs: Needs
    story: str
    cpus: tuple[int, ...] = CPUS

    @property
    def summary(self) -> str:
        """In words."""
        return " ".join((self.run.__doc__ or "").split())


CATALOGUE = (
    Scenario("boot", RELEASE_GATE, good.boots, "release", "ar", cpus=(1, 2, 4, 8)),
    Scenario("update-and-rollback", RELEASE_GATE, good.update_and_rollback, "update", "ar br ar"),
    Scenario("unattended-update", RELEASE_GATE, good.unattended, "update", "ar br"),
    Scenario("three-updates", RELEASE_GATE, good.three_in_a_row, "keys", "ar br br ar ar br"),
    Scenario("cancelled-and-resumed", RELEASE_GATE, good.cancelled_and_resumed, "update", "ar br"),
    Scenario("cut-and-resumed", RELEASE_GATE, good.cut_and_resumed, "update", "ar ar br"),
    Scenario("commit-cut", RELEASE_GATE, good.commit_cut, "update", "ar br br"),
    Scenario("root-writes-nothing", RELEASE_GATE, good.root_writes_nothing, "update", "ar"),
    Scenario("refusals", RELEASE_GATE, trust.refusals, "keys", "ar"),
    Scenario("keys-rotated-and-kept", RELEASE_GATE, trust.rotated_and_kept, "keys", "ar br"),
    Scenario("keys-expired", RELEASE_GATE, trust.keys_expired, "keys", "ar br br ar"),
    Scenario("root-rotated", RELEASE_GATE, trust.root_rotated, "keys", "ar br ar ar"),
    Scenario("keys-rotated-and-given-up", ROLLBACK_GATE, trust.rotated_and_given_up, "keys", "ar bp bp bp ar"),
    Scenario("kernel-panic", ROLLBACK_GATE, failing.kernel_panics, "keys", "ar bp bp bp ar"),
    Scenario("no-init", ROLLBACK_GATE, failing.no_init, "keys", "ar bf bf bf ar"),
    Scenario("kernel-hang", ROLLBACK_GATE, failing.kernel_hangs, "keys", "ar b- ar"),
    Scenario("userland-hang", ROLLBACK_GATE, failing.userland_hangs, "keys", "ar br ar"),
    Scenario("reboot-loop", ROLLBACK_GATE, failing.restarts_for_ever, "keys", "ar b[r-] b[r-] b[r-] ar"),
    Scenario("check-fails", ROLLBACK_GATE, failing.check_fails, "keys", "ar br br br ar"),
    Scenario("check-fails-late", ROLLBACK_GATE, failing.check_fails_late, "keys", "ar br ar"),
    Scenario("operator-check-fails", ROLLBACK_GATE, failing.check_of_the_operator_fails, "update", "ar br ar"),
    Scenario("good-slot-stops-booting", ROLLBACK_GATE, failing.good_slot_stops_booting, "keys", "ap ap ap ap ap br"),
    Scenario("loader-kept", RELEASE_GATE, loader.kept, "keys", "ar br br"),
    Scenario("loader-hangs", ROLLBACK_GATE, loader.hangs, "keys", "ar -- ar"),
    Scenario("loader-crashes", ROLLBACK_GATE, loader.crashes, "keys", "ar -- -- -- ar"),
    Scenario("loader-refuses", ROLLBACK_GATE, loader.refuses, "keys", "ar ar"),
    Scenario("bit-in-header", ROLLBACK_GATE, rot.header, "update", "ar ar"),
    Scenario("bit-in-kernel", ROLLBACK_GATE, rot.kernel, "update", "ar ar"),
    Scenario("bit-in-base", ROLLBACK_GATE, rot.erofs, "update", NEVER_GOOD),
    Scenario("bit-in-tree", ROLLBACK_GATE, rot.tree, "update", NEVER_GOOD),
    Scenario("bit-unread", ROLLBACK_GATE, rot.unread, "update", "ar br br"),
    Scenario("slot-truncated", ROLLBACK_GATE, rot.truncated, "update", NEVER_GOOD),
    Scenario("both-slots-damaged", ROLLBACK_GATE, rot.both_slots, "update", "ar --"),
    Scenario("boot-control-lost", ROLLBACK_GATE, rot.control_block, "update", "ar br"),
    Scenario("older-disk", ROLLBACK_GATE, rot.older_disk, "keys", "ar br br --"),
    Scenario("floor-of-the-maximum", ROLLBACK_GATE, rot.floor_of_the_maximum, "update", "ar br"),
    Scenario("data-volume-damaged", RELEASE_GATE, rot.data_volume, "update", "ar br"),
    Scenario("data-feature-rolled-back", ROLLBACK_GATE, rot.data_feature, "update", "ar br ar"),
)


def scenario(name: str) -> Scenario:
    """The one of that name."""
    found = next((entry for entry in CATALOGUE if entry.name == name), None)
    if found is None:
        raise UsageError(f"no scenario is called {name!r}{choice(name, [entry.name for entry in CATALOGUE])}")
    return found
