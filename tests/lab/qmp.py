"""The QEMU Machine Protocol over a Unix socket: just enough to switch links and save state."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any


class QmpError(RuntimeError):
    """QEMU refused a command; the text is QEMU's own."""


class Qmp:
    """One connection, kept open; commands one after the other."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self._socket = _connect(path, time.monotonic() + timeout)
        self._socket.settimeout(60)
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        try:
            self._stream.readline()  # the greeting
            self("qmp_capabilities")
        except (OSError, RuntimeError):
            self.close()
            raise

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Run one QMP command and return its answer; events in between are dropped."""
        self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._stream.flush()
        while True:
            line = self._stream.readline()
            if not line:
                raise QmpError(f"{command}: QEMU closed the connection")
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error'].get('desc', answer['error'])}")

    def monitor(self, line: str) -> str:
        """Run a command of the human monitor (savevm has no QMP form that waits)."""
        return self("human-monitor-command", **{"command-line": line})

    def close(self) -> None:
        """Close the connection; QEMU goes on."""
        with contextlib.suppress(OSError):  # what is left in its buffer has no reader any more
            self._stream.close()
        self._socket.close()


def _connect(path: Path, deadline: float) -> socket.socket:
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline:
                raise QmpError(f"no QMP socket at {path}") from None
            time.sleep(0.05)
