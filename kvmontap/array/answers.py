"""Typed reading of what an array answered: JSON that nobody has checked.  Pure; standard library only.

A value that is missing becomes the default, because ONTAP leaves out what it does not know; a value of another type than
the API promises raises AnswerError with the place in it.
"""

from typing import Any, Mapping, Optional


class AnswerError(ValueError):
    """A value is not of the type that the API promises."""


def _at(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise AnswerError(f"{path} is not where it should be")
        value = value.get(part)
    return value


def text(record: Mapping[str, Any], path: str, default: str = "") -> str:
    """The string at the dotted path; a number is taken as its digits (ONTAP's codes come both ways)."""
    value = _at(record, path)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise AnswerError(f"{path} is {type(value).__name__}, not text")
    return value


def number(record: Mapping[str, Any], path: str) -> Optional[int]:
    """The integer at the dotted path, None where there is none."""
    value = _at(record, path)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise AnswerError(f"{path} is {type(value).__name__}, not a whole number")
    return value


def flag(record: Mapping[str, Any], path: str) -> Optional[bool]:
    """The boolean at the dotted path, None where there is none."""
    value = _at(record, path)
    if value is None or isinstance(value, bool):
        return value
    raise AnswerError(f"{path} is {type(value).__name__}, not true or false")


def one_line(words: str, limit: int = 300) -> str:
    """The words on one line without control characters and without a full stop at their end."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    if len(line) > limit:
        line = line[: limit - 3] + "..."
    return line if line.endswith("...") else line.rstrip(". ")
