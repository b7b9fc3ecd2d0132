"""Every program of an image finds its dynamic linker and shared libraries there, or the build says what is missing."""

from __future__ import annotations

import pytest
from swiftbuild.core.libraries import LINKS_MAX, missing
from swiftbuild.model.tree import Content, Node
from swiftbuild.wire.elf import Linking

LINKER = "/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"


def file(path: str, origin: str = "packages/one") -> Node:
    return Node(path, "file", 0o755, content=Content("text"), origin=origin)


def link(path: str, target: str) -> Node:
    return Node(path, "link", 0o777, target=target, origin="packages/one")


def folders(*paths: str) -> list[Node]:
    return [Node(path, "directory", 0o755) for path in paths]


TREE = [
    *folders("/usr", "/usr/bin", "/usr/lib", "/usr/lib/aarch64-linux-gnu", "/opt", "/opt/lib"), link("/lib", "usr/lib"),
    file(LINKER, "packages/libc6"), link("/usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu/ld-linux-aarch64.so.1"),
    file("/usr/bin/tool", "packages/tool"), file("/usr/lib/aarch64-linux-gnu/libc.so.6", "packages/libc6"),
    file("/opt/lib/libx.so"), file("/usr/lib/liby.so"),
]  # fmt: skip
LIBRARIES = {LINKER: Linking(), "/usr/lib/aarch64-linux-gnu/libc.so.6": Linking("", ("ld-linux-aarch64.so.1",)),
             "/opt/lib/libx.so": Linking("", ("libc.so.6",)), "/usr/lib/liby.so": Linking()}


def problems(linking: Linking, *more: Node) -> list[str]:
    return missing([*TREE, *more], {**LIBRARIES, "/usr/bin/tool": linking})


@pytest.mark.parametrize(
    "linking",
    [
        Linking(), Linking("/lib/ld-linux-aarch64.so.1", ("libc.so.6", "liby.so")),
        Linking(LINKER, ("libx.so",), ("/opt/lib",)), Linking(LINKER, ("libx.so",), ("$ORIGIN/../../opt/lib",)),
        Linking(LINKER, ("libx.so",), ("/none", "${ORIGIN}/../../opt/./lib")), Linking(LINKER, ("/opt/lib/libx.so",)),
    ],
)  # fmt: skip
def test_what_is_there_is_found(linking: Linking) -> None:
    assert problems(linking) == []


@pytest.mark.parametrize(
    ("linking", "words"),
    [
        (Linking(LINKER, ("libz.so.1",)), ["packages/tool: /usr/bin/tool", "the shared library libz.so.1"]),
        (Linking(LINKER, ("libx.so",)), ["libx.so"]),
        (Linking("/lib/ld-musl.so.1"), ["/usr/bin/tool needs the dynamic linker /lib/ld-musl.so.1"]),
        (Linking(LINKER, ("tool",), ("/usr/lib",)), ["the shared library tool"]),
    ],
)
def test_what_is_missing_is_named_with_its_package(linking: Linking, words: list[str]) -> None:
    found = problems(linking)
    assert len(found) == 1
    for word in words:
        assert word in found[0]


def test_a_library_that_lacks_another_is_named_too() -> None:
    less = {path: linking for path, linking in LIBRARIES.items() if "libc" not in path}
    assert missing(TREE, less) == [
        "packages/one: /opt/lib/libx.so needs the shared library libc.so.6, which no package of the image has"
    ]


def test_a_file_that_is_no_program_and_a_folder_are_no_library() -> None:
    assert problems(Linking("", ("libt.so",)), file("/usr/lib/libt.so")) != []
    assert problems(Linking("", ("libd.so",)), *folders("/usr/lib/libd.so")) != []


def test_links_that_lead_nowhere_or_round_and_round() -> None:
    assert problems(Linking("", ("libr.so",)), link("/usr/lib/libr.so", "libs.so"), link("/usr/lib/libs.so", "libr.so"))
    assert problems(Linking("", ("libn.so",)), link("/usr/lib/libn.so", "/none/libn.so"))
    chain = [link("/usr/lib/l0.so", "liby.so")]
    chain += [link(f"/usr/lib/l{n}.so", f"l{n - 1}.so") for n in range(1, LINKS_MAX + 1)]
    assert problems(Linking("", (f"/usr/lib/l{LINKS_MAX - 1}.so",)), *chain) == []
    assert problems(Linking("", (f"/usr/lib/l{LINKS_MAX}.so",)), *chain) != []
