"""QEMU's control channel (QMP): commands, and why the machine ended. Uses qemu.qmp (docs/decisions)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from swiftbuild.errors import HostError

T = TypeVar("T")
ANSWER_SECONDS_MAX = 120.0
"""QEMU answers at once; but a host whose disks are busy may hold it up."""


class Monitor:
    """A connection of its own thread and event loop, so that callers need not be asynchronous."""

    def __init__(self, line: socket.socket) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("swiftbuild")
        self._shutdowns = EventListener(names=("SHUTDOWN",))
        self._watchdogs = EventListener(names=("WATCHDOG",))
        self._client.register_listener(self._shutdowns)
        self._client.register_listener(self._watchdogs)
        self._call(self._client.connect(line))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(ANSWER_SECONDS_MAX)
        except (QMPError, EOFError, TimeoutError) as error:
            future.cancel()  # else it is torn down at some later time, in the middle of anything
            raise HostError(f"QEMU's control channel: {error or type(error).__name__}") from error

    def execute(self, command: str, **arguments: object) -> object:
        """One command's answer."""
        try:
            return self._call(self._client.execute(command, arguments or None))
        except ExecuteError as error:
            raise HostError(f"QEMU refuses {command}: {error}") from error

    def shutdown_reason(self) -> str:
        """Why a machine whose QEMU has ended did so: guest-shutdown, guest-reset, guest-panic, host-signal, … or ""."""

        async def last() -> str:
            # QEMU says why before it closes its end: only behind that end is it certain what it has said.
            while self._client.runstate is Runstate.RUNNING:
                await self._client.runstate_changed()
            data = [event.get("data", {}) for event in self._shutdowns.clear()][-1:]
            return str(data[0].get("reason", "")) if data and isinstance(data[0], dict) else ""

        return self._call(last())

    def watchdog_expired(self) -> bool:
        """Whether a watchdog of the machine has done what it does, since this was asked last."""

        async def events() -> bool:
            return bool(self._watchdogs.clear())

        return self._call(events())

    def close(self) -> None:
        """Ends the connection; QEMU may be gone already."""
        with contextlib.suppress(QMPError, EOFError, TimeoutError):  # what ended it is the console's to report
            asyncio.run_coroutine_threadsafe(self._client.disconnect(), self._loop).result(ANSWER_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_SECONDS_MAX)
        self._loop.close()
