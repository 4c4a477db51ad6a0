"""Faults on demand: what goes wrong, for which requests, how often.

Kinds, by when they strike:
  instead of the work: silent, closed, reset, status, error, approval, not-json
  around the work: slow, job-failure, limit, job-slow, job-lost, location
  on the answer: unknown-enum, no-links, cut, cut-json
With `when: "after"` slow, silent, closed and reset strike when the work is done: the caller does
not know that it is.
"""

from __future__ import annotations

import copy
import fnmatch
import itertools
import threading
from dataclasses import dataclass, field
from typing import Any, Optional

from .exchange import Answer, ApiError

# name: (the fields it needs, the fields it may have besides)
KINDS = {
    "slow": ({"seconds"}, {"when"}),
    "silent": (set(), {"when", "seconds"}),
    "closed": (set(), {"when"}),
    "reset": (set(), {"when"}),
    "status": ({"status"}, {"text"}),
    "error": ({"code", "message"}, {"status", "target"}),
    "approval": (set(), set()),
    "not-json": (set(), {"status", "text"}),
    "job-failure": ({"code", "message"}, set()),
    "limit": (set(), set()),
    "job-slow": ({"seconds"}, set()),
    "job-lost": (set(), set()),
    "location": ({"form"}, set()),
    "unknown-enum": (set(), {"field", "value"}),
    "no-links": (set(), set()),
    "cut": (set(), set()),
    "cut-json": (set(), set()),
}
# Of these the answer is wrong on purpose; nobody judges it.
SPOILS = {
    "status",
    "not-json",
    "unknown-enum",
    "no-links",
    "cut",
    "cut-json",
    "location",
    "job-lost",
    "silent",
    "closed",
    "reset",
}


@dataclass
class Fault:
    """`path`: shell pattern over the request's path; `count`: how many more times, None for ever; `skip`: so many go by first."""

    kind: str
    method: str = "*"
    path: str = "*"
    count: Optional[int] = None
    options: dict = field(default_factory=dict)
    number: int = 0
    hits: int = 0
    skip: int = 0
    cleared: threading.Event = field(default_factory=threading.Event, repr=False)

    def row(self) -> dict:
        return {
            "id": self.number,
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "count": self.count,
            "hits": self.hits,
            **self.options,
        }

    @property
    def after(self) -> bool:
        return self.options.get("when") == "after"


def _checked(kind: str, options: dict) -> None:
    if kind not in KINDS:
        raise ValueError(f"there is no fault {kind}; there are {', '.join(sorted(KINDS))}.")
    needed, further = KINDS[kind]
    missing, wrong = needed - set(options), set(options) - needed - further
    if missing or wrong:
        raise ValueError(f"fault {kind}: missing {sorted(missing)}, unknown {sorted(wrong)}.")
    if options.get("when", "before") not in ("before", "after"):
        raise ValueError("when is before or after.")
    if options.get("form", "uuid") not in ("uuid", "query", "wrong", "none"):
        raise ValueError("form is uuid, query, wrong or none.")


class Faults:
    """The faults that are set, in the order in which they were."""

    def __init__(self) -> None:
        self._faults: list = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def add(
        self,
        kind: str,
        method: str = "*",
        path: str = "*",
        count: Optional[int] = None,
        skip: int = 0,
        **options: Any,
    ) -> Fault:
        """ValueError for an unknown kind or option."""
        _checked(kind, options)
        fault = Fault(kind, method, path, count, options, next(self._numbers), skip=skip)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, method: str, path: str) -> list:
        """The faults for this request, each counted."""
        taken = []
        with self._lock:
            for fault in self._faults:
                if fault.count == 0 or fault.method not in ("*", method):
                    continue
                if fnmatch.fnmatchcase(path, fault.path):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.hits += 1
                    fault.count = None if fault.count is None else fault.count - 1
                    taken.append(fault)
        return taken

    def clear(self, number: Optional[int] = None) -> int:
        """One or all; requests that it holds go on (slow) or have their connection closed (silent)."""
        with self._lock:
            gone = [each for each in self._faults if number in (None, each.number)]
            self._faults = [each for each in self._faults if each not in gone]
        for fault in gone:
            fault.cleared.set()
        return len(gone)

    def rows(self) -> list:
        with self._lock:
            return [each.row() for each in self._faults]


def first(faults: list, *kinds: str) -> Optional[Fault]:
    return next((each for each in faults if each.kind in kinds), None)


def immediate_error(faults: list) -> Optional[ApiError]:
    """The error that is answered instead of doing the work."""
    fault = first(faults, "error", "approval")
    if fault is None:
        return None
    if fault.kind == "approval":
        return ApiError(
            403,
            "262325",
            "The operation requires approval. A request has been created; "
            "try again once it is approved.",
        )
    options = fault.options
    return ApiError(
        int(options.get("status", 400)), options["code"], options["message"], options.get("target")
    )


def job_error(faults: list) -> Optional[ApiError]:
    """The error with which a job fails instead of working."""
    fault = first(faults, "job-failure", "limit")
    if fault is None:
        return None
    if fault.kind == "limit":
        return ApiError(409, "525062", "Cannot exceed maximum number of snapshots.")
    return ApiError(409, fault.options["code"], fault.options["message"])


def _set(value: Any, parts: list, new: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _set(item, parts, new)
    elif isinstance(value, dict) and parts[0] in value:
        if len(parts) == 1:
            value[parts[0]] = new
        else:
            _set(value[parts[0]], parts[1:], new)


def _without_links(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_links(item) for key, item in value.items() if key != "_links"}
    return [_without_links(item) for item in value] if isinstance(value, list) else value


def spoiled(answer: Answer, faults: list) -> Answer:
    """The answer with an unheard-of enum value, or without its links."""
    body = copy.deepcopy(answer.body)
    for fault in faults:
        if fault.kind == "unknown-enum" and answer.status < 300:
            parts = fault.options.get("field", "state").split(".")
            new = fault.options.get("value", "unheard_of")
            _set(body.get("records", body) if isinstance(body, dict) else body, parts, new)
        if fault.kind == "no-links":
            body = _without_links(body)
    return answer._replace(body=body)
