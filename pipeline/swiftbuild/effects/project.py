"""The project's own files: version, profiles, recipes, lock."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from swiftbuild.core.names import choice
from swiftbuild.core.version import parse_version
from swiftbuild.effects.files import read_toml
from swiftbuild.errors import InputError, UsageError
from swiftbuild.model.profile import Profile
from swiftbuild.model.recipe import PackageLock, Recipe
from swiftbuild.model.written import parse

PROFILES = "pipeline/profiles"
PACKAGES = "packages"
LOCK = "packages/lock.toml"


def version(root: Path) -> str:
    """The one place that names the version."""
    text = (root / "VERSION").read_text()
    parse_version(text)
    return text.strip()


def profiles(root: Path) -> list[str]:
    """The names of all profiles."""
    return sorted(path.stem for path in (root / PROFILES).glob("*.toml"))


def load_profile(root: Path, name: str) -> Profile:
    """One profile, checked."""
    if name not in profiles(root):
        raise UsageError(f"no profile {name!r}{choice(name, profiles(root))}",
                         hint=f"a profile is a file {PROFILES}/NAME.toml")
    where = f"{PROFILES}/{name}.toml"
    profile = parse(Profile, read_toml(root / where, where), where)
    if profile.name != name:
        raise InputError(f"{where}: name: '{profile.name}', expected '{name}' as the file is called")
    return profile


def recipes(root: Path) -> list[str]:
    """The names of all packages with a recipe."""
    return sorted(path.parent.name for path in (root / PACKAGES).glob("*/recipe.toml"))


def require_package(root: Path, name: str, asked: str) -> None:
    """A package that the command line names; `asked` says where."""
    if name not in recipes(root):
        raise UsageError(f"{asked} {name}: no such package{choice(name, recipes(root))}",
                         hint=f"a package is a file {PACKAGES}/NAME/recipe.toml")


def load_recipe(root: Path, name: str, wanted_by: str) -> Recipe:
    """One recipe, checked."""
    if name not in recipes(root):
        raise InputError(f"{wanted_by}: unknown package '{name}'{choice(name, recipes(root))}",
                         hint=f"a package is a file {PACKAGES}/NAME/recipe.toml")
    where = f"{PACKAGES}/{name}/recipe.toml"
    recipe = parse(Recipe, read_toml(root / where, where), where)
    if recipe.name != name:
        raise InputError(f"{where}: name: '{recipe.name}', expected '{name}' as its folder is called")
    return recipe


def load_recipes(root: Path, names: Iterable[str], wanted_by: str) -> tuple[Recipe, ...]:
    """Several recipes, and behind them what they require; a name that stands twice is a mistake."""
    listed = list(names)
    if twice := sorted({name for name in listed if listed.count(name) > 1}):
        raise InputError(f"{wanted_by}: packages: '{twice[0]}' stands there twice")
    loaded: dict[str, Recipe] = {}
    wanted = [(name, wanted_by) for name in listed]
    for name, by in wanted:  # grows as it is walked
        if name not in loaded:
            loaded[name] = load_recipe(root, name, by)
            where = f"{PACKAGES}/{name}/recipe.toml: requires"
            wanted += [(other, where) for other in loaded[name].requires]
    return tuple(loaded.values())


def load_lock(root: Path) -> PackageLock:
    """The lock of Debian packages; an absent file is an empty lock."""
    path = root / LOCK
    return parse(PackageLock, read_toml(path, LOCK), LOCK) if path.exists() else PackageLock()
