"""From the file's bytes to nested sections of raw values, with every syntax error located and its section left out.

ConfigObj stops understanding where a section header is broken: the keys below it would land in the section above.  So the
text is cut into blocks at its headers, blocks with an error are taken out whole, and the rest is read again.
On the boot path: imports configobj and `re`.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from configobj import ConfigObj, ConfigObjError

from kvmontap.config.table import KEYS

LARGEST = 8 << 20  # bytes; a file beyond is not a configuration

# Text, not compiled: only a broken file needs them, and `re` keeps what it has compiled.
_HEADER = r"\s*(\[+)\s*(.*?)\s*(\]+)\s*(#.*)?$"
_PAIR = r"""\s*("[^"]*"|'[^']*'|[^'"=\s\[#][^=]*?)\s*="""
_WORDS = {  # ConfigObj's exception -> what to tell
    "DuplicateError": "stands here for the second time; keep one of the two",
    "NestingError": "has a bracket too many or too few; write [section], [[pool]] or [[[gate]]]",
    "ParseError": "cannot be read; write KEY = VALUE, with quotes in pairs",
}


class SyntaxProblem(NamedTuple):
    line: int  # 1-based
    section: str  # "pools/kvmnfs01" or ""
    reason: str


class Block(NamedTuple):
    """The lines from one header to the next; `path` is where the header says that they belong."""

    start: int  # 0-based index of the header's line
    end: int  # exclusive
    path: Tuple[str, ...]


class Text(NamedTuple):
    """What was read: `tree` as ConfigObj's nested dictionaries, without the blocks that had errors."""

    tree: ConfigObj
    errors: Tuple[SyntaxProblem, ...]
    dropped: Tuple[Tuple[str, ...], ...]  # paths of the blocks taken out
    lines: Tuple[str, ...]


def read(data: bytes) -> Text:
    """Sections of `data`; ValueError (one clause) where it is no text at all."""
    if len(data) > LARGEST:
        raise ValueError(f"is {len(data) >> 20} MiB, more than a configuration can be")
    if b"\x00" in data:
        raise ValueError("is not a text file; restore it from a copy")
    # Bytes that are not UTF-8 stay visible as surrogates: in a comment they do no harm, in a value they are refused there.
    text = data.decode("utf-8-sig", "surrogateescape")
    # Not splitlines(): it also cuts at U+2028 and friends, which configobj and editors do not count as lines.
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    kept: List[Optional[str]] = list(lines)
    errors: List[SyntaxProblem] = []
    dropped: List[Tuple[str, ...]] = []
    while True:
        try:
            tree = ConfigObj([line or "" for line in kept], interpolation=False, list_values=True)
            return Text(tree, tuple(sorted(set(errors))), tuple(dropped), tuple(lines))
        except ConfigObjError as error:
            if not _drop(error, lines, kept, errors, dropped):
                return Text(ConfigObj(), tuple(sorted(set(errors))), tuple(dropped), tuple(lines))


def blocks(lines: List[str]) -> List[Block]:
    """`lines` cut at everything that looks like a header; the first block has the lines before any header."""
    starts: List[Tuple[int, Tuple[str, ...]]] = [(0, ())]
    path: Tuple[str, ...] = ()
    for index, line in enumerate(lines):
        if line.lstrip()[:1] != "[":
            continue
        found = re.match(_HEADER, line)
        name = _unquote(found.group(2)) if found else line.strip(" \t[]")
        depth = _depth(found, line, name)
        path = (path + ("",) * depth)[: depth - 1] + (name,)
        starts.append((index, path))
    ends = [start for start, _ in starts[1:]] + [len(lines)]
    return [Block(start, end, where) for (start, where), end in zip(starts, ends)]


def _depth(found: "Optional[re.Match]", line: str, name: str) -> int:
    """How deep a header stands; where its brackets do not match, the deeper reading, unless the name is a section's."""
    opened = len(found.group(1)) if found else len(line.lstrip()) - len(line.lstrip().lstrip("["))
    closed = len(found.group(3)) if found else 0
    return 1 if name in KEYS and 1 in (opened, closed) else max(opened, closed)


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _drop(error, lines, kept, errors, dropped) -> bool:
    """Take the blocks with errors out of `kept`; False when that changed nothing."""
    cut = blocks(lines)
    starts = [block.start for block in cut]
    before = list(kept)
    for one in getattr(error, "errors", None) or [error]:
        number = getattr(one, "line_number", None) or 1
        place = _block_of(starts, number - 1)
        block = cut[place]
        if kept[number - 1] is None:
            continue  # an error that follows from one already told
        errors.append(SyntaxProblem(number, "/".join(filter(None, block.path)), _reason(type(one).__name__, lines[number - 1])))
        if not block.path:
            kept[number - 1] = None
        elif number - 1 == block.start and len(block.path) == 1 and block.path[0] in KEYS and _bare(lines[number - 1]):
            kept[number - 1] = f"[{block.path[0]}]"  # what is meant is plain, and the pools below depend on it
        else:
            dropped += _take_out(place, cut, kept)
    return kept != before


def _bare(line: str) -> bool:
    """Whether `line` is a header with the wrong number of brackets, and not the second one of its name."""
    found = re.match(_HEADER, line)
    return not found or len(found.group(1)) != len(found.group(3))


def _reason(kind: str, line: str) -> str:
    if line.lstrip()[:1] == "[" and kind == "ParseError":
        kind = "NestingError"
    if kind == "ParseError" and ("\"\"\"" in line or "'''" in line):
        return "begins a text with three quotes that never ends; write the value on one line"
    pair = re.match(_PAIR, line)
    named = f"{_unquote(pair.group(1).strip())} " if kind == "DuplicateError" and pair else ""
    return named + _WORDS.get(kind, _WORDS["ParseError"])


def _block_of(starts: List[int], index: int) -> int:
    low, high = 0, len(starts)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if starts[middle] <= index else (low, middle)
    return low


def _take_out(place: int, cut: List[Block], kept: List[Optional[str]]) -> List[Tuple[str, ...]]:
    """Blank a block and those nested below it, which would otherwise fall to the section above; their paths."""
    end = place + 1
    while end < len(cut) and len(cut[end].path) > len(cut[place].path):
        end += 1
    for index in range(cut[place].start, cut[end - 1].end):
        kept[index] = None
    return [block.path for block in cut[place:end]]


def index_of(lines: Tuple[str, ...]) -> Dict[Tuple[str, ...], Tuple[int, Dict[str, int]]]:
    """Every section's header line and its keys' lines (1-based), in one pass; made only where a problem must be located."""
    found: Dict[Tuple[str, ...], Tuple[int, Dict[str, int]]] = {}
    for block in blocks(list(lines)):
        keys: Dict[str, int] = {}
        for number in range(block.start, block.end):
            pair = re.match(_PAIR, lines[number])
            if pair:
                keys.setdefault(_unquote(pair.group(1).strip()), number + 1)
        found.setdefault(block.path, (block.start + 1 if block.path else 0, keys))
    return found
