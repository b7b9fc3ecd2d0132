"""The command line's entry: one flat list of commands. Each module imports what it needs when it runs, so that
`--help` and a build with nothing to do stay quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swiftbuild.cli import (
    boot,
    clean,
    data,
    doctor,
    evidence,
    image,
    keys,
    package,
    release,
    rotate,
    run,
    sign,
    slots,
    verify,
)
from swiftbuild.cli import inspect as inspect_command
from swiftbuild.cli.session import DirectoryOption, JsonOption, QuietOption, VerboseOption, common, find_root

app = typer.Typer(
    name="swiftbuild",
    help="Builds swift-os disk images, boots them, and says how healthy they are.\n\n"
    "Start with: swiftbuild image --profile qemu, then swiftbuild run --profile qemu",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich" a default in brackets is taken for a style, and is gone
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        source = find_root(Path(__file__).resolve())
        print(f"swiftbuild {(source / 'VERSION').read_text().strip()}")
        raise typer.Exit


@app.callback()
def _common(
    json_: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
    directory: DirectoryOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    common.json, common.verbose, common.quiet, common.directory = json_, verbose, quiet, directory


app.command("image")(image.image)
app.command("build")(image.build)
app.command("run")(run.run)
app.command("boot")(boot.boot)
app.command("inspect")(inspect_command.inspect)
app.add_typer(package.package_app, name="package")
app.add_typer(data.data_app, name="data")
keys.keys_app.command("rotate")(rotate.rotate)
app.add_typer(keys.keys_app, name="keys")
app.add_typer(sign.sign_app, name="sign")
release.release_app.command("evidence")(evidence.evidence)
app.add_typer(release.release_app, name="release")
app.add_typer(slots.slots_app, name="slots")
app.command("verify")(verify.verify)
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """The console script."""
    app(prog_name="swiftbuild")
