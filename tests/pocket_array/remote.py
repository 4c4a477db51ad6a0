"""The control interface from the other side: for tests whose array runs in another process or VM."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Optional


class RemoteError(Exception):
    """The array refused; the message is its own."""


class Remote:
    """`url`: https://host:port of the array or, better, of its control port; `ca`: its ca.pem."""

    def __init__(self, url: str, token: str, ca: str, seconds: float = 10.0):
        self._url, self._token, self._seconds = url.rstrip("/"), token, seconds
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)),
        )

    def call(self, method: str, path: str, body: Any = None) -> dict:
        """One call below /pocket/. OSError where the array is not there."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}/pocket/{path}",
            data,
            method=method,
            headers={"X-Pocket-Token": self._token},
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise RemoteError(json.load(error)["error"]["message"]) from None

    def health(self) -> dict:
        return self.call("GET", "health")

    def requests(self, since: int = 0, answers: bool = False) -> list:
        query = f"?since={since}" + ("&answers=true" if answers else "")
        return self.call("GET", "requests" + query)["requests"]

    def add_fault(
        self,
        kind: str,
        method: str = "*",
        path: str = "*",
        count: Optional[int] = None,
        **options: Any,
    ) -> dict:
        return self.call(
            "POST",
            "faults",
            {"kind": kind, "method": method, "path": path, "count": count, **options},
        )

    def clear_faults(self) -> None:
        self.call("DELETE", "faults")

    def change(self, **changes: dict) -> dict:
        """E.g. change(volumes={"kvmnfs01": {"state": "offline"}}); gives the state afterwards."""
        return self.call("PATCH", "state", changes)

    def state(self) -> dict:
        return self.call("GET", "state")

    def listener(self, state: str) -> None:
        """listening, refused or mute; needs the control port to come back."""
        self.call("POST", "listener", {"state": state})
