"""Profiles, recipes and lock: what is wrong is told with file, key and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from swiftbuild.core.lock import new_recipe, render
from swiftbuild.effects import project
from swiftbuild.errors import InputError, SwiftbuildError, UsageError
from swiftbuild.model.recipe import LockedPackage, PackageLock, Recipe
from swiftbuild.model.written import parse

from tests.fakes import FILES, ROOT

PROFILE = "pipeline/profiles/test.toml"
RECIPE = "packages/base/recipe.toml"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(tree: Path, name: str, old: str, new: str) -> None:
    text = (tree / name).read_text()
    assert old in text
    (tree / name).write_text(text.replace(old, new, 1))


def test_the_projects_own_files_are_right() -> None:
    for name in project.profiles(ROOT):
        profile = project.load_profile(ROOT, name)
        project.load_recipes(ROOT, profile.packages, name)
    lock = project.load_lock(ROOT)
    for name in project.recipes(ROOT):
        source = project.load_recipe(ROOT, name, "test").source
        assert source.kind != "debian" or source.package in lock.debian


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("hostname =", "hostnam =", ["unknown key 'hostnam'", "known here:", "hostname", PROFILE]),
        ("data_mib = 64", "data_mb = 64", ["unknown key 'disk.data_mb'", "data_mib"]),
        ("data_mib = 64", "data_mib = 63", ["disk.data_mib", "greater than or equal to 64"]),
        ("gic = 2", "gic = 4", ["board.gic", "2 or 3"]),
        ('tables = "fdt"', 'tables = "dtb"', ["board.tables", "'fdt' or 'acpi'"]),
        ('salt = "saltsalt"', 'salt = "sa:lt"', ["login.root.salt"]),
        ('name = "test"', 'name = "other"', ["name: 'other', expected 'test'"]),
        ("[disk]", "[disk", ["not TOML"]),
    ],
)
def test_a_wrong_profile_is_named_with_file_and_key(tree: Path, old: str, new: str, words: list[str]) -> None:
    edit(tree, PROFILE, old, new)
    with pytest.raises(InputError) as caught:
        project.load_profile(tree, "test")
    for word in [PROFILE, *words]:
        assert word in caught.value.message


def test_an_unknown_profile_lists_those_there_are(tree: Path) -> None:
    with pytest.raises(UsageError, match="no profile 'qemo'; there are: test"):
        project.load_profile(tree, "qemo")


def test_an_unknown_package_lists_those_there_are(tree: Path) -> None:
    edit(tree, PROFILE, '"hello"', '"helo"')
    profile = project.load_profile(tree, "test")
    with pytest.raises(InputError, match=r"test\.toml: unknown package 'helo'; there are: base, hello"):
        project.load_recipes(tree, profile.packages, PROFILE)


def test_a_package_named_twice(tree: Path) -> None:
    with pytest.raises(InputError, match="'base' stands there twice"):
        project.load_recipes(tree, ["base", "base"], PROFILE)


def test_what_a_package_requires_comes_with_it_once(tree: Path) -> None:
    edit(tree, RECIPE, 'license = "Apache-2.0"', 'license = "Apache-2.0"\nrequires = ["hello"]')
    edit(tree, "packages/hello/recipe.toml", 'license = "MIT"', 'license = "MIT"\nrequires = ["base"]')
    for names in (["base"], ["hello"], ["hello", "base"]):
        assert sorted(r.name for r in project.load_recipes(tree, names, PROFILE)) == ["base", "hello"]


def test_a_package_that_requires_what_is_not_there(tree: Path) -> None:
    edit(tree, RECIPE, 'license = "Apache-2.0"', 'license = "Apache-2.0"\nrequires = ["libfoo"]')
    with pytest.raises(InputError, match=r"packages/base/recipe\.toml: requires: unknown package 'libfoo'"):
        project.load_recipes(tree, ["base"], PROFILE)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('license = "Apache-2.0"', 'license = "Apache-2.0"\nrequires = "hello"', "requires"),
        ('license = "Apache-2.0"', 'license = "Apache-2.0"\nrequires = ["He llo"]', "requires.0"),
        ('mode = "0755"', 'mode = "0855"', "file.0.mode"),
        ('to = "/usr/bin/init"', 'to = "usr/bin/init"', "file.0.to"),
        ('to = "/usr/bin/init"', 'to = "/usr/../etc/shadow"', "file.0.to"),
        ('from = "motd"', 'from = "../../../etc/passwd"', "file.1.from"),
        ('from = "motd"', 'from = "/etc/passwd"', "file.1.from"),
        ('kind = "tree"', 'kind = "git"', "source"),
        ("[[service]]", "[[servise]]", "unknown key 'servise'"),
    ],
)
def test_a_wrong_recipe_is_named_with_file_and_key(tree: Path, old: str, new: str, word: str) -> None:
    edit(tree, RECIPE, old, new)
    with pytest.raises(InputError) as caught:
        project.load_recipe(tree, "base", "test")
    assert RECIPE in caught.value.message
    assert word in caught.value.message


def test_a_wrong_lock() -> None:
    row = {"version": "1.0", "sha256": "0" * 63, "size": 1}
    with pytest.raises(InputError, match=r"lock: debian\.hello\.sha256"):
        parse(PackageLock, {"debian": {"hello": row}}, "lock")


def test_a_new_recipe_is_valid_and_the_lock_reads_back() -> None:
    assert parse(Recipe, tomllib.loads(new_recipe("g++-12")), "new").name == "g++-12"
    locked = {"b.c": LockedPackage(version="1:2", sha256="0" * 64, size=3),
              "a": LockedPackage(version="1", sha256="1" * 64, size=4)}
    assert parse(PackageLock, tomllib.loads(render(locked)), "lock").debian == locked


@pytest.mark.parametrize("text", ["", "1.2", "1.2.3-rc1", "1000.0.0", "v1.2.3"])
def test_a_wrong_version(tree: Path, text: str) -> None:
    (tree / "VERSION").write_text(text)
    with pytest.raises(SwiftbuildError, match="VERSION"):
        project.version(tree)
