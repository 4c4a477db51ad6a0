"""Sections as text, and their place in a file that somebody else has written: nothing of it is changed or moved.  Pure."""

from typing import Iterable, List, Sequence, Tuple

from kvmontap.config.read import blocks

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.:/=@ %[]()")
_LISTS = ("server", "portals", "iqn", "nqn", "options")

Pairs = Sequence[Tuple[str, str]]


def section(name: str, keys: Pairs, boot: Pairs, comments: Iterable[str]) -> List[str]:
    """The lines of [[name]]; comments come first, each on a line of its own."""
    lines = [f"    [[{name}]]"]
    lines += [f"    # {one_line(comment)}" for comment in comments]
    lines += [f"    {key} = {value(key, text)}" for key, text in keys]
    if boot:
        lines += ["        [[[boot]]]"] + [f"        {key} = {value(key, text)}" for key, text in boot]
    return lines


def value(key: str, text: str) -> str:
    """`text` as ConfigObj reads it back: in quotes where it has anything but plain characters."""
    if key in _LISTS and "," in text:
        return ", ".join(value("", part.strip()) for part in text.split(","))
    if text and text == text.strip() and _PLAIN.issuperset(text):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def one_line(text: str) -> str:
    """`text` without what would end a comment."""
    return "".join(char if char.isprintable() else "?" for char in text)


def merged(text: str, sections: Sequence[Sequence[str]]) -> str:
    """`text` with the sections at the end of its [pools], or with a [pools] of their own at its end."""
    if not sections:
        return text
    added: List[str] = []
    for lines in sections:
        added += ["", *lines]
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    place = _end_of_pools([line[:-1] if line.endswith("\r") else line for line in lines])
    carriage = "\r" if ending == "\r\n" else ""
    if place is None:
        head = text if not text or text.endswith("\n") else text + ending
        return head + (ending if head.strip() else "") + ending.join(["[pools]", *added[1:]]) + ending
    rest = lines[place:] if any(lines[place:]) else [""]
    return "\n".join(lines[:place] + [line + carriage for line in added] + rest)


def _end_of_pools(lines: List[str]):  # type: ignore[no-untyped-def]
    """Index of the line before which [pools] ends, its trailing blank lines and comments left to what follows; None without one."""
    found = [block for block in blocks(lines) if block.path[:1] == ("pools",)]
    if not found:
        return None
    end = found[-1].end
    last = end
    while last > found[-1].start + 1 and not lines[last - 1].strip():
        last -= 1
    # A comment right above the next header belongs to that header, unless the file ends there.
    if end < len(lines):
        while last > found[-1].start + 1 and lines[last - 1].lstrip().startswith("#"):
            last -= 1
        while last > found[-1].start + 1 and not lines[last - 1].strip():
            last -= 1
    return last
