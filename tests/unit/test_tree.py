"""The manifest of the root tree, accounts, and the times tied to the version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swiftbuild.core import accounts, tree
from swiftbuild.core.version import file_time
from swiftbuild.effects.project import load_profile
from swiftbuild.errors import InputError, UsageError
from swiftbuild.model.tree import Content, Node

from tests.fakes import ROOT

PARTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4)


def file(path: str, origin: str = "one") -> Node:
    return Node(path, "file", 0o644, content=Content("text", data=origin.encode()), origin=origin)


@given(st.lists(PARTS, max_size=12, unique_by=tuple))
def test_every_path_has_its_parents_before_it(paths: list[list[str]]) -> None:
    nodes = [Node("/" + "/".join(parts), "directory", 0o700, origin="recipe") for parts in paths]
    made = tree.assemble(nodes)
    seen: set[str] = set()
    for node in made:
        assert node.path == "/" or (node.path.rpartition("/")[0] or "/") in seen
        seen.add(node.path)
    assert len(seen) == len(made)
    assert {node.path for node in nodes} <= seen
    assert all(node.mode == 0o700 for node in made if node.path in {n.path for n in nodes})
    assert tree.assemble(reversed(nodes)) == made


def test_one_path_from_two_packages_names_both() -> None:
    with pytest.raises(InputError, match=r"/bin/sh comes from both one and two"):
        tree.assemble([file("/bin/sh"), file("/bin/sh", "two")])


def test_a_file_below_a_link_is_refused() -> None:
    link = Node("/bin", "link", 0o777, target="usr/bin", origin="one")
    with pytest.raises(InputError, match="/bin/sh of two lies below /bin, a link of one"):
        tree.assemble([link, file("/bin/sh", "two")])


def test_a_recipe_outranks_a_generated_directory() -> None:
    own = Node("/tmp", "directory", 0o700, origin="packages/x")
    assert own in tree.assemble([*tree.SKELETON, own])
    assert own in tree.assemble([own, *tree.SKELETON])


def test_shadow_locks_whoever_has_no_hash() -> None:
    text = accounts.shadow_file({"guest": "$6$salt$hash"})
    assert text.splitlines()[0].startswith("root:!:")
    assert text.splitlines()[1].startswith("guest:$6$salt$hash:")


def test_passwd_and_group_agree() -> None:
    made = accounts.account_files()
    groups = {row.split(":")[2] for row in made["/etc/group"].splitlines()}
    for row in made["/etc/passwd"].splitlines():
        assert row.split(":")[3] in groups


@pytest.mark.parametrize(
    ("options", "keys", "word"),
    [
        (["secret"], [], "not a SHA-512-crypt"),
        (["nobody:$6$a$" + "b" * 86], [], "no user 'nobody'"),
        (["root:$6$a$" + "b" * 85], [], "not a SHA-512-crypt"),
        ([], ["ssh-ed25519"], "OpenSSH public key"),
        ([], ["ssh-ed25519 AAAA\nssh-rsa BBBB"], "OpenSSH public key"),
    ],
)
def test_wrong_access_is_refused(options: list[str], keys: list[str], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        accounts.parse_access(options, keys)


def test_built_in_passwords_are_for_dev_images_without_other_access() -> None:
    profile = load_profile(ROOT, "qemu")
    assert set(accounts.built_in(profile, accounts.parse_access([], []))) == {"root", "guest"}
    given_hash = accounts.parse_access(["$6$a$" + "b" * 86], [])
    assert accounts.built_in(profile, given_hash) == {}
    real = profile.model_copy(update={"dev": False})
    assert accounts.built_in(real, accounts.parse_access([], [])) == {}
    banner = accounts.identity_files(profile, "1.2.3", accounts.built_in(profile, accounts.parse_access([], [])))
    assert "root / swift" in banner["/etc/issue"]
    assert "password" not in accounts.identity_files(real, "1.2.3", {})["/etc/issue"]


def test_file_times_grow_with_the_version() -> None:
    versions = ["0.0.0", "0.0.1", "0.0.999", "0.1.0", "0.999.999", "1.0.0"]
    times = [file_time(version) for version in versions]
    assert times == sorted(set(times))
