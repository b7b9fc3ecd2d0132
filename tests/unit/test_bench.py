"""The page of benchmarks, and figures of two systems beside each other."""

from __future__ import annotations

from dataclasses import replace

from tests.bench import page
from tests.bench.storage.figures import Compared, Cost, above, amount, ratio, row, section, spread
from tests.bench.storage.works import Work

WORK = Work("random write", "4 KiB", 10, "write-random /data/file 10 1")
OURS = Cost(instructions=1000, kernel=900, writes=1, flushes=2, written=5000, reads=0, read=0)
PEER = Cost(instructions=2000, kernel=1800, writes=1, flushes=1, written=4000, reads=0.5, read=0)


def test_sections_of_the_page_stay_when_others_are_measured() -> None:
    made = {"boots": page.dated(page.table("Boots", ("way", "s"), [("direct", "1")]), "today"), "sizes": "",
            "memory": page.table("Memory", ("CPUs", "KiB"), [("1", "2")], "A note.")}  # fmt: skip
    whole = page.page(made)
    assert whole.startswith("# Benchmarks\n")
    assert "## Boots\n\nMeasured today.\n\n| way | s |\n| --- | --- |\n| direct | 1 |\n" in whole
    assert "## Memory\n\nA note.\n\n| CPUs | KiB |" in whole
    found = page.sections(whole)
    assert found == {"boots": made["boots"], "memory": made["memory"]}
    assert page.page(found) == whole


def test_costs_are_of_one_unit() -> None:
    assert OURS.per(10) == Cost(100, 90, 0.1, 0.2, 500, 0, 0)


def test_figures_and_ratios() -> None:
    assert [amount(value) for value in (1234567.8, 99.94, 0.00149)] == ["1,234,568", "99.9", "0.00149"]
    assert (ratio(1, 2), ratio(3, 2), ratio(0, 0), ratio(1, 0)) == ("0.50", "1.50", "–", "none there")
    assert spread([1.0, 4.0, 3.0], [2.0, 2.0, 2.0]) == "1.50 (0.50–2.00)"
    assert spread([], []) == "–"


def test_a_row_has_both_sides() -> None:
    assert row(Compared(WORK, OURS, PEER, (1.0,), (2.0,))) == (
        "random write: 4 KiB", "1,000 / 2,000 = 0.50", "900 / 1,800 = 0.50", "1 / 1 = 1.00", "2 / 1 = 2.00",
        "5,000 / 4,000 = 1.25", "0 / 0.5 = 0.00", "–", "0.50 (0.50–0.50)",
    )  # fmt: skip


def test_what_is_more_than_the_peers_is_named() -> None:
    assert above([Compared(WORK, OURS, PEER), Compared(WORK, PEER, PEER)]) == ["random write: flushes, written"]
    near, over = replace(PEER, written=4000 * 1.004), replace(PEER, written=4000 * 1.006)
    assert above([Compared(WORK, near, PEER), Compared(WORK, over, PEER)]) == ["random write: written"]
    text = section([Compared(WORK, OURS, PEER)], "note")
    assert text.startswith("## Storage\n\nnote\n\n| work, per unit |")
    assert text.count("\n| ") == 3
