"""Runs as JUnit XML, which every CI shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from swiftbuild.model.proof import RunRecord

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(runs: Sequence[RunRecord]) -> bytes:
    """The document: one suite, a case for each run; what the release did wrong is a failure, all else an error."""
    count = {status: sum(run.outcome.status == status for run in runs) for status in ("failed", "error")}
    suite = ElementTree.Element("testsuite", {
        "name": "swiftbuild verify", "tests": str(len(runs)), "failures": str(count["failed"]),
        "errors": str(count["error"]), "time": f"{sum(map(_seconds, runs)):.0f}"})
    for run in runs:
        case = ElementTree.SubElement(suite, "testcase", {
            "classname": f"{run.profile}.{run.cpus}cpu.{run.artifact}", "name": run.scenario,
            "time": f"{_seconds(run):.0f}"})
        if run.outcome.status != "passed":
            text = NOT_XML.sub("�", run.outcome.message)
            tag = "failure" if run.outcome.status == "failed" else "error"
            ElementTree.SubElement(case, tag, {"message": text.split("\n", 1)[0]}).text = text
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _seconds(run: RunRecord) -> int:
    return run.outcome.ended_at - run.outcome.started_at
