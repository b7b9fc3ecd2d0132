"""QEMU's control channel (QMP): commands, and why the machine ended. Uses qemu.qmp (docs/decisions)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, QMPClient, QMPError

from swiftbuild.errors import BootError

T = TypeVar("T")
ANSWER_SECONDS_MAX = 20.0


class Monitor:
    """A connection of its own thread and event loop, so that callers need not be asynchronous."""

    def __init__(self, line: socket.socket) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("swiftbuild")
        self.shutdown_reason = ""
        self._call(self._client.connect(line))
        self._watcher = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(ANSWER_SECONDS_MAX)
        except (QMPError, EOFError, TimeoutError) as error:
            future.cancel()  # else it is torn down at some later time, in the middle of anything
            raise BootError(f"QEMU's control channel: {error or type(error).__name__}") from error

    async def _watch(self) -> None:
        """Remembers why the machine ended: guest-shutdown, guest-reset, guest-panic, host-signal, …"""
        with self._client.listener(("SHUTDOWN",)) as events:
            async for event in events:
                data = event.get("data", {})
                self.shutdown_reason = str(data.get("reason", "")) if isinstance(data, dict) else ""

    def execute(self, command: str, **arguments: object) -> object:
        """One command's answer."""
        try:
            return self._call(self._client.execute(command, arguments or None))
        except ExecuteError as error:
            raise BootError(f"QEMU refuses {command}: {error}") from error

    def close(self) -> None:
        """Ends the connection; QEMU may be gone already."""
        async def end() -> None:
            self._watcher.cancel()
            await self._client.disconnect()

        with contextlib.suppress(QMPError, EOFError, TimeoutError):  # what ended it is the console's to report
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(ANSWER_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_SECONDS_MAX)
        self._loop.close()
