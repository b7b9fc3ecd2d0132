"""For all tests: the table of gates, boots and seconds that a run ends with."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass

import pytest
from hypothesis import settings
from swiftbuild.machine import qemu

# Modules that only help: their assertions, too, then say what they compared.
pytest.register_assert_rewrite("tests.bases", "tests.guests", "tests.images", "tests.recordings", "tests.rust",
                               "tests.variants", "tests.system.blockguests", "tests.system.datadisk",
                               "tests.system.recorded")

# The cases of properties are the same in every run: a red test is of a change, not of a day. `make explore` has others.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# QEMU's user mode before 8.0 holds GLib's slice locks over fork(2): a child now and then waits for one that nobody
# has any more (gitlab.com/qemu-project/qemu, issue 285). malloc's locks are sound there.
os.environ["G_SLICE"] = "always-malloc"

STRICT = "SWIFTBUILD_CI"
"""Set by .ci/run."""
OTHER = "host tests"


@dataclass
class Row:
    """One gate."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    boots: int = 0
    seconds: float = 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """How many machines a test started."""
    before = qemu.started
    try:
        return (yield)
    finally:
        item.user_properties.append(("boots", qemu.started - before))


def gates_of(report: pytest.TestReport, known: set[str]) -> list[str]:
    """The gates that a test counts for."""
    return sorted(known & set(report.keywords)) or [OTHER]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table. A test that counts for several gates stands in each; the total counts it once."""
    known = {line.split(":")[0] for line in config.getini("markers")}
    known = {name for name in known if name.endswith("_test") or name == "hetzner_run"}
    rows: dict[str, Row] = defaultdict(Row)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if isinstance(report, pytest.TestReport):
                for gate in [*gates_of(report, known), "total"]:
                    _count(rows[gate], report, outcome)
    if len(rows) <= 1:
        return
    write = terminalreporter.write_line
    terminalreporter.section("gates")
    write(f"{'gate':<22} {'passed':>6} {'failed':>6} {'skipped':>7} {'boots':>5} {'seconds':>8}")
    for gate in sorted(rows, key=lambda name: (name == "total", name)):
        row = rows[gate]
        name = gate.replace("_", "-")
        write(f"{name:<22} {row.passed:6} {row.failed:6} {row.skipped:7} {row.boots:5} {row.seconds:8.1f}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a gate whose test was skipped has failed: it proves nothing."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if STRICT not in os.environ or not isinstance(terminal, pytest.TerminalReporter):
        return
    known = {line.split(":")[0] for line in session.config.getini("markers")} - {"slow", "system"}
    skipped = [r for r in terminal.stats.get("skipped", []) if isinstance(r, pytest.TestReport)]
    if any(known & set(report.keywords) for report in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _count(row: Row, report: pytest.TestReport, outcome: str) -> None:
    if outcome == "passed":
        row.passed += 1
    elif outcome == "skipped":
        row.skipped += 1
    else:
        row.failed += 1
    row.seconds += report.duration
    row.boots += sum(value for name, value in report.user_properties if name == "boots" and isinstance(value, int))
