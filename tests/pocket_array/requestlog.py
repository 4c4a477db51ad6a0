"""The log of what was asked and answered. No headers, no credentials."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Optional

from .exchange import Answer, Exchange, Request

KEPT = 5000


@dataclass
class Entry:
    """One request; `status` is None until it is answered, and stays so if it never is."""

    number: int
    time: float
    method: str
    path: str
    query: tuple
    body: Any
    user: Optional[str]
    status: Optional[int] = None
    answer: Any = None
    headers: tuple = ()
    faults: tuple = ()
    seconds: Optional[float] = None

    def exchange(self) -> Exchange:
        answer = None if self.status is None else Answer(self.status, self.answer, self.headers)
        request = Request(self.number, self.method, self.path, self.query, self.body, self.user)
        return Exchange(request, answer, self.faults)


def from_row(row: dict) -> Exchange:
    """The exchange of a row of GET /pocket/requests?answers=true, for the judge to look at later."""
    pairs = {key: tuple(map(tuple, row[key])) for key in ("query", "headers")}
    return Entry(**{**row, **pairs, "faults": tuple(row["faults"])}).exchange()


class RequestLog:
    """Bounded: the oldest of more than 5000 entries are dropped."""

    def __init__(self) -> None:
        self._entries: collections.deque = collections.deque(maxlen=KEPT)
        self._changed = threading.Condition(threading.RLock())

    def came(self, request: Request) -> Entry:
        entry = Entry(
            request.number,
            time.time(),
            request.method,
            request.path,
            request.query,
            request.body,
            request.user,
        )
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()
        return entry

    def answered(self, entry: Entry, answer: Optional[Answer], faults: tuple) -> None:
        with self._changed:
            if answer is not None:
                entry.status, entry.answer, entry.headers = (
                    answer.status,
                    answer.body,
                    answer.headers,
                )
            entry.faults, entry.seconds = faults, round(time.time() - entry.time, 4)
            self._changed.notify_all()

    def entries(self, method: str = "", path: str = "", since: int = 0) -> list:
        """Entries with a number above `since`; `path`: where the request's path begins."""
        with self._changed:
            return [
                each
                for each in self._entries
                if each.number > since
                and method in ("", each.method)
                and each.path.startswith(path)
            ]

    def wait_for(self, count: int, method: str = "", path: str = "", seconds: float = 10.0) -> list:
        """The entries, once there are `count` of them; TimeoutError otherwise."""
        end = time.monotonic() + seconds
        with self._changed:
            while len(found := self.entries(method, path)) < count:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{len(found)} of {count} requests {method} {path} came")
                self._changed.wait(left)
        return found

    def clear(self) -> None:
        with self._changed:
            self._entries.clear()

    def rows(self, entries: list, answers: bool) -> list:
        rows = [asdict(each) for each in entries]
        if not answers:
            for row in rows:
                del row["answer"], row["headers"]
        return rows
