"""What is said about a name that is not known."""

from __future__ import annotations

import pytest
from swiftbuild.core.names import choice, close


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("qemo", ["hetzner", "qemu"], "; there are: hetzner, qemu; did you mean 'qemu'?"),
        ("vax", ["qemu", "hetzner"], "; there are: hetzner, qemu"),
        ("vax", [], "; there are: none"),
    ],
)
def test_all_names_are_told_and_the_one_that_was_meant(name: str, known: list[str], said: str) -> None:
    assert choice(name, known) == said


def test_of_a_path_one_name_is_compared() -> None:
    assert close("b", ["long"], before="/the/same/", after="/below") == ""
    assert close("lon", ["long"], before="/the/same/", after="/below") == "; did you mean '/the/same/long/below'?"
