"""What goes in and what comes out of the pocket array: requests, answers, errors.

Plain values, standard library only. A request that is kept (log, observers) never holds credentials:
headers are not kept at all, and fields of a body whose name says secret are blotted out.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Optional

_SECRET = re.compile(
    r"(?i)(passw|passphrase|secret|token|private_key|^key$|certificate|^authorization$)"
)
BLOT = "***"


class Request(NamedTuple):
    """One request as it is kept: `query` is a tuple of (name, value), `body` parsed JSON or None."""

    number: int
    method: str
    path: str
    query: tuple = ()
    body: Any = None
    user: Optional[str] = None


class Answer(NamedTuple):
    """`body` is JSON shaped; None means no body at all. `headers` is a tuple of (name, value)."""

    status: int
    body: Any = None
    headers: tuple = ()


class Exchange(NamedTuple):
    """A request with the answer it got. `faults`: kinds of the faults that touched it."""

    request: Request
    answer: Optional[Answer]
    faults: tuple = ()


class ApiError(Exception):
    """An error of the array: becomes {"error": {...}}, directly or as the error of a job."""

    def __init__(self, status: int, code: str, message: str, target: Optional[str] = None):
        super().__init__(message)
        self.status, self.code, self.message, self.target = status, str(code), message, target

    def body(self) -> dict:
        error = {"message": self.message, "code": self.code}
        if self.target:
            error["target"] = self.target
        return {"error": error}

    def answer(self) -> Answer:
        return Answer(self.status, self.body())


def no_entry(target: str = "uuid") -> ApiError:
    return ApiError(404, "4", "entry doesn't exist", target)


def unexpected(name: str) -> ApiError:
    return ApiError(400, "262179", f'Unexpected argument "{name}".', name)


def invalid_value(value: Any, field: str, hint: str = "") -> ApiError:
    tail = f" ({hint})" if hint else ""
    return ApiError(
        400, "262197", f'The value "{value}" is invalid for field "{field}"{tail}', field
    )


def blotted(value: Any) -> Any:
    """A copy of a JSON value in which the values of fields with telling names are blotted out."""
    if isinstance(value, dict):
        return {
            key: BLOT
            if _SECRET.search(key) and not isinstance(item, (dict, list, bool))
            else blotted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [blotted(item) for item in value]
    return value


def blotted_query(query: tuple) -> tuple:
    return tuple(
        (name, BLOT if _SECRET.search(name.rsplit(".", 1)[-1]) else value) for name, value in query
    )
