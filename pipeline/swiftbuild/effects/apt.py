"""Debian arm64 packages through the machine's own package client, with a private state below build/.

The machine's sources and trust are used; its architectures, lists, cache and hooks are left alone. Needs no root.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path

from swiftbuild.effects.files import write_atomic
from swiftbuild.effects.process import Runner
from swiftbuild.errors import CommandError, NetworkError

APT_GET = "/usr/bin/apt-get"
APT_CACHE = "/usr/bin/apt-cache"
CONFIGURATION = """\
// Given with -c, so it is read after the machine's own files and outranks them.
APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; }};
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{cache}";
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
// hooks of the machine would work on the machine's state
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""


class Apt:
    """One private state. Calls from several threads take turns."""

    def __init__(self, root: Path, runner: Runner, network: Mapping[str, str]) -> None:
        self._root = root
        self._runner = runner
        self._network = dict(network)
        self._lock = threading.Lock()
        self._updated = False

    def download(self, package: str, version: str, folder: Path) -> Path | None:
        """The file of exactly that version, in `folder`, authenticated by apt; None when the archive has it not."""
        with self._lock:
            if (found := self._try(package, version, folder)) is not None:
                return found
            if self._update():
                return self._try(package, version, folder)
            return None

    def newest(self, package: str) -> str | None:
        """The version that apt would take now."""
        with self._lock:
            self._update()
            try:
                text = self._run(APT_CACHE, "show", "--no-all-versions", package, cwd=self._root)
            except CommandError:
                return None
        match = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
        return match.group(1) if match else None

    def _try(self, package: str, version: str, folder: Path) -> Path | None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run(APT_GET, "-q", "download", f"{package}={version}", cwd=folder)
        except CommandError as error:
            if re.search(r"Version .* was not found|Unable to locate package|No packages found|404 ", error.output):
                return None
            raise NetworkError(f"{package} {version} could not be fetched:\n{error.output.rstrip()}",
                               hint="check the network and /etc/apt/sources.list, then repeat") from None
        return next(iter(sorted(folder.glob(f"{package}_*.deb"))), None)

    def _update(self) -> bool:
        """Fetches the lists, once per run; whether it did now."""
        if self._updated:
            return False
        try:
            self._run(APT_GET, "-q", "update", cwd=self._root)
        except CommandError as error:
            raise NetworkError(f"the package lists could not be fetched:\n{error.output.rstrip()}",
                               hint="check the network and /etc/apt/sources.list, then repeat") from None
        self._updated = True
        return True

    def _run(self, program: str, *arguments: str, cwd: Path) -> str:
        state, cache = self._root / "state", self._root / "cache"
        for folder in (state / "lists" / "partial", cache / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        if not (state / "status").exists():
            write_atomic(state / "status", b"")
        configuration = self._root / "apt.conf"
        write_atomic(configuration, CONFIGURATION.format(state=state, cache=cache).encode())
        return self._runner.run([program, "-c", str(configuration), *arguments], env=self._network, cwd=cwd)
