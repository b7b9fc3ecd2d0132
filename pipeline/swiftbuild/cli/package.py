"""`swiftbuild package`: recipes and the lock of Debian packages."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swiftbuild.cli.session import Session, command

if TYPE_CHECKING:
    from swiftbuild.cli.workshop import Workshop
    from swiftbuild.model.recipe import Recipe

package_app = typer.Typer(help="Packages: what an image is put together from.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The package: its folder below packages/.")]


@command
def add(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The Debian arm64 package; also the recipe's name.")],
) -> None:
    """Start a recipe for a Debian arm64 package, and lock its newest version.

    Add its files to the recipe, and its name to a profile's packages.
    """
    from swiftbuild.cli.workshop import workshop
    from swiftbuild.core.lock import new_recipe
    from swiftbuild.effects import project
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.errors import UsageError
    from swiftbuild.model.recipe import Recipe
    from swiftbuild.model.written import parse

    place = session.root / project.PACKAGES / name / "recipe.toml"
    if place.exists():
        raise UsageError(f"packages/{name}/recipe.toml is there already", hint=f"swiftbuild package update {name}")
    text = new_recipe(name)
    import tomllib

    parse(Recipe, tomllib.loads(text), f"packages/{name}/recipe.toml")
    with workshop(session) as shop:
        locked = _lock(shop, [name])
    write_atomic(place, text.encode())
    session.result({"recipe": str(place), "locked": locked},
                   f"{place}\n{name} {locked[name]['version']} locked; list its files with: "
                   f"swiftbuild package inspect {name}")


@command
def update(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Debian packages; none: all.")] = None,
) -> None:
    """Move the lock to the newest version that the archive has."""
    from swiftbuild.cli.workshop import workshop
    from swiftbuild.core.names import choice
    from swiftbuild.effects import project
    from swiftbuild.errors import UsageError
    from swiftbuild.model.recipe import DebianSource

    every = [project.load_recipe(session.root, name, "packages") for name in project.recipes(session.root)]
    known = sorted({recipe.source.package for recipe in every if isinstance(recipe.source, DebianSource)})
    if unknown := sorted(set(names or ()) - set(known)):
        raise UsageError(f"no recipe takes the Debian package {unknown[0]!r}{choice(unknown[0], known)}",
                         hint=f"swiftbuild package add {unknown[0]}")
    with workshop(session) as shop:
        before = project.load_lock(session.root).debian
        locked = _lock(shop, names or known)
    rows = []
    for name, row in locked.items():
        old = before[name].version if name in before else None
        rows.append(f"{name:20} {row['version']}" + ("" if old == row["version"] else f"  (was {old or 'not locked'})"))
    session.result({"locked": locked}, "\n".join(rows))


def _lock(shop: Workshop, names: list[str]) -> dict[str, dict[str, Any]]:
    """Fetches the newest of each and writes the lock; the others stay as they are."""
    import tempfile

    from swiftbuild.core.lock import render
    from swiftbuild.digest import sha256_file
    from swiftbuild.effects import project
    from swiftbuild.effects.files import write_atomic
    from swiftbuild.errors import InputError
    from swiftbuild.model.recipe import LockedPackage

    root = shop.session.root
    locked = dict(project.load_lock(root).debian)
    for name in names:
        version = shop.apt.newest(name)
        with tempfile.TemporaryDirectory(dir=root / "build") as folder:
            file = shop.apt.download(name, version, Path(folder)) if version else None
            if version is None or file is None:
                raise InputError(f"the Debian archive has no arm64 package '{name}'")
            locked[name] = LockedPackage(version=version, sha256=sha256_file(file), size=file.stat().st_size)
    write_atomic(root / project.LOCK, render(locked).encode())
    return {name: locked[name].model_dump() for name in names}


@command
def build(session: Session, name: NameArgument) -> None:
    """Build one package and put its files into build/packages/NAME."""
    import shutil

    from swiftbuild.cli.workshop import workshop
    from swiftbuild.effects import project

    project.require_package(session.root, name, "package build")
    place = session.root / "build" / "packages" / name
    with workshop(session) as shop:
        contents = _contents(shop, name)
    if place.exists():
        shutil.rmtree(place)
    files = []
    for path, data in sorted(contents.items()):
        target = place / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        files.append({"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    session.result({"name": name, "folder": str(place), "files": files},
                   "\n".join([str(place), *(f"  {str(f['sha256'])[:16]} {f['size']:>9}  {f['path']}" for f in files)]))


def _contents(shop: Workshop, name: str) -> dict[str, bytes]:
    """Path → bytes of every file that the recipe names."""
    import tempfile

    from swiftbuild.core.tree import recipe_nodes
    from swiftbuild.effects import project
    from swiftbuild.effects.archive import read_members

    recipe = project.load_recipe(shop.session.root, name, "package build")
    contents = {node.path: node.content for node in recipe_nodes(recipe) if node.content is not None}
    wanted = {"userland" if c.kind == "binary" else f"debian/{c.package}"
              for c in contents.values() if c.kind in {"binary", "debian"}}
    outcome = shop.run(shop.package_plan(recipe, wanted), force=False)
    out = {}
    for path, content in contents.items():
        if content.kind == "beside":
            out[path] = (shop.session.root / content.name).read_bytes()
        elif content.kind == "binary":
            out[path] = shop.path(outcome, "userland", content.name)[0].read_bytes()
        else:
            package = shop.path(outcome, f"debian/{content.package}", "package.deb")[0]
            with tempfile.TemporaryDirectory(dir=shop.session.root / "build") as folder:
                out[path] = read_members(package, [content.name], Path(folder), shop.processes)[content.name]
    return out


@command
def inspect(session: Session, name: NameArgument) -> None:
    """Show a package: its recipe, its lock, and for a Debian package the files that it holds."""
    from swiftbuild.cli.workshop import workshop
    from swiftbuild.effects import project
    from swiftbuild.effects.process import BASE_ENVIRONMENT
    from swiftbuild.model.recipe import DebianSource

    project.require_package(session.root, name, "package inspect")
    recipe = project.load_recipe(session.root, name, "package inspect")
    document: dict[str, Any] = {"recipe": recipe.model_dump(by_alias=True)}
    rows = [f"{recipe.name}: {recipe.summary}", f"licence  {recipe.license}", f"source   {_source(recipe)}"]
    if isinstance(recipe.source, DebianSource):
        package = recipe.source.package
        with workshop(session) as shop:
            outcome = shop.run(shop.package_plan(recipe, {f"debian/{package}"}), force=False)
            file = shop.path(outcome, f"debian/{package}", "package.deb")[0]
            listing = shop.processes.run(["/usr/bin/dpkg-deb", "-c", str(file)], env=BASE_ENVIRONMENT).splitlines()
        locked = project.load_lock(session.root).debian[package]
        document |= {"lock": locked.model_dump(), "holds": listing}
        rows += [f"locked   {locked.version} {locked.sha256}", "holds", *(f"  {line}" for line in listing)]
    rows += ["gives", *(f"  {rule.to} ({rule.mode})" for rule in recipe.file),
             *(f"  {rule.path} -> {rule.target}" for rule in recipe.link)]
    session.result(document, "\n".join(rows))


def _source(recipe: Recipe) -> str:
    from swiftbuild.model.recipe import DebianSource

    if isinstance(recipe.source, DebianSource):
        return f"Debian package {recipe.source.package} (arm64)"
    return f"this tree, crate {recipe.source.crate}" if recipe.source.crate else "this tree, files beside the recipe"


package_app.command("add")(add)
package_app.command("update")(update)
package_app.command("build")(build)
package_app.command("inspect")(inspect)
