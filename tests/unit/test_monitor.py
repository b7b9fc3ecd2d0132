"""QEMU's control channel: what it says is not lost when QEMU has left before anybody listens."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping

import pytest
from swiftbuild.machine.monitor import Monitor

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}


def shutdown(reason: str) -> dict[str, object]:
    """QEMU's word for the machine's end."""
    data = {"guest": True, "reason": reason}
    return {"event": "SHUTDOWN", "data": data, "timestamp": {"seconds": 1, "microseconds": 0}}


def play(line: socket.socket, leaves: threading.Event, *messages: Mapping[str, object]) -> None:
    """A QEMU that greets, is asked for its capabilities, and in the end says these messages and is gone."""
    def say(message: Mapping[str, object]) -> None:
        line.sendall(json.dumps(message).encode() + b"\r\n")

    say(GREETING)
    assert b"qmp_capabilities" in line.recv(65536)
    say({"return": {}})
    leaves.wait()
    for message in messages:
        say(message)
    line.close()


@pytest.mark.parametrize(("messages", "reason"), [
    ([shutdown("guest-shutdown")], "guest-shutdown"),
    ([{**shutdown("x"), "event": "STOP"}, shutdown("guest-reset"), shutdown("host-signal")], "host-signal"),
    ([], ""),
])  # fmt: skip
def test_the_reason_is_read_to_the_end_of_the_channel(messages: list[dict[str, object]], reason: str) -> None:
    ours, theirs = socket.socketpair()
    leaves = threading.Event()
    peer = threading.Thread(target=play, args=(theirs, leaves, *messages))
    peer.start()
    monitor = Monitor(ours)
    # The channel's thread is busy when QEMU leaves, as on a loaded machine.
    monitor._loop.call_soon_threadsafe(time.sleep, 0.3)
    leaves.set()
    peer.join()
    assert monitor.shutdown_reason() == reason
    monitor.close()
