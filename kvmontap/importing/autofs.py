"""autofs(5) and auto.master(5): the entries of direct and indirect maps, and what only automount can do.  Pure.

`read(name)` gives the text of a file, or None where it is not there.
"""

import posixpath
from typing import Callable, List, NamedTuple, Optional, Tuple, Union

from kvmontap.importing.draft import NFS_TYPES, SMB_TYPES, Entry, Left
from kvmontap.importing.options import split

TIMEOUT = 300  # seconds: what autofs.conf of every distribution says
_OWN = ("nobind", "bind", "use-weight-only", "strict", "nostrict", "random-multimount-selection")  # options of automount itself
_MASTER_FLAGS = ("--ghost", "-ghost", "--browse", "-browse", "browse", "nobrowse", "--nobrowse")

Reader = Callable[[str], Optional[str]]
Found = List[Union[Entry, Left]]


class Map(NamedTuple):
    """One line of the master map."""

    point: str  # "/-" for a direct map
    path: str
    timeout: Optional[float]
    options: Tuple[str, ...]


class Line(NamedTuple):
    """A logical line: continued lines are one."""

    number: int
    words: Tuple[str, ...]


def read(master: str, read_file: Reader, listed: Callable[[str], List[str]] = lambda directory: []) -> Found:
    """Every entry of the maps that the master map at `master` names; `listed` gives the files of an included directory."""
    found: Found = []
    _master(master, read_file, listed, found, set())
    return found


def _master(path: str, read_file: Reader, listed: Callable[[str], List[str]], found: Found, seen: set) -> None:
    text = read_file(path)
    if text is None or path in seen:
        if text is None:
            found.append(Left(path, 0, "master map", "is not there"))
        return
    seen.add(path)
    for line in logical(text):
        first = line.words[0]
        if first.startswith("+dir:"):
            for name in sorted(listed(first[5:])):
                # automount(8) reads only these, so that a package's leftovers do no harm.
                if name.endswith(".autofs") and not name.startswith("."):
                    _master(posixpath.join(first[5:], name), read_file, listed, found, seen)
        elif first.startswith("+"):
            where = _file(first[1:])
            if where is None:
                found.append(Left(path, line.number, first, "includes a map of a directory service"))
            elif where != path and read_file(where) is not None:
                _master(where, read_file, listed, found, seen)
        else:
            _map(path, line, read_file, found)


def _map(path: str, line: Line, read_file: Reader, found: Found) -> None:
    made = _map_of(path, line)
    if isinstance(made, Left):
        found.append(made)
        return
    text = read_file(made.path)
    if text is None:
        found.append(Left(path, line.number, made.path, "is not there"))
        return
    if text.startswith("#!"):
        found.append(Left(path, line.number, made.path, "is a program: what it gives is not known beforehand"))
        return
    for entry in logical(text):
        found.append(_entry(made, entry))


def _map_of(path: str, line: Line) -> Union[Map, Left]:
    if len(line.words) < 2:
        return Left(path, line.number, line.words[0], "names no map")
    point, name = line.words[:2]
    kind, colon, rest = name.partition(":")
    if point == "/net" or name == "-hosts" or kind == "hosts":
        return Left(path, line.number, point, "mounts every export of any host; name those that are pools")
    if name == "-null":
        return Left(path, line.number, point, "switches a map off")
    if colon and kind.partition(",")[0] != "file":
        return Left(path, line.number, name, f"is a map of type {kind}, which only automount can read")
    where = _file(rest if colon else name)
    if where is None:
        return Left(path, line.number, name, "is a map of a directory service")
    timeout: Optional[float] = TIMEOUT
    options: List[str] = []
    words = list(line.words[2:])
    while words:
        word = words.pop(0)
        if word in ("-t", "--timeout") and words:
            word = f"--timeout={words.pop(0)}"
        key, equals, value = word.lstrip("-").partition("=")
        if key in ("timeout", "t") and equals:
            timeout = float(value) if value.isdigit() else None
        elif word not in _MASTER_FLAGS:
            options += split(word.lstrip("-"))
    return Map(point, where, timeout, tuple(options))


def _file(name: str) -> Optional[str]:
    """The file that a map's name means; None where it lies in a directory service."""
    if name.startswith("/"):
        return name
    # files comes first in nsswitch.conf, and a bare name is one of /etc there.
    return posixpath.join("/etc", name) if name.startswith("auto") else None


def _entry(table: Map, line: Line) -> Union[Entry, Left]:
    key, words = line.words[0], list(line.words[1:])
    if key.startswith("+"):
        return Left(table.path, line.number, key, "includes another map; import that one by itself")
    options = list(table.options)
    while words and words[0].startswith("-"):
        options += split(words.pop(0)[1:])
    if key == "*" or "&" in " ".join(words) or "$" in " ".join([key, *words]):
        return Left(table.path, line.number, " ".join(line.words), "stands for many mounts (*, & or a variable); name those that are pools")
    where = key if table.point == "/-" else posixpath.join(table.point, key)
    if not where.startswith("/"):
        return Left(table.path, line.number, key, "is no absolute path, which a direct map needs")
    if not words:
        return Left(table.path, line.number, where, "names no location")
    if any(word.startswith("/") for word in words):
        return Left(table.path, line.number, where, "mounts several things below one key; write a section for each")
    fstype = next((option.partition("=")[2] for option in reversed(options) if option.startswith("fstype=")), "nfs")
    notes = [f"{option} is automount's own and is not carried" for option in options if option in _OWN]
    options = [option for option in options if not option.startswith("fstype=") and option not in _OWN]
    what = _location(words, fstype)
    if what.startswith("!"):
        return Left(table.path, line.number, where, what[1:])
    boot = [("mount", "automount")]
    if table.timeout is None:
        notes.append("its timeout cannot be read; idle-timeout = 0 is used")
    boot += [("idle-timeout", f"{table.timeout:g}")] if table.timeout else []
    if "," in what and fstype in NFS_TYPES:
        notes.append("automount takes the server that answers fastest, by weight; the first of server = that answers is taken here")
    notes.append("mount = boot would have it mounted before libvirt starts")
    return Entry(table.path, line.number, what, "/" + where.strip("/"), fstype, tuple(options), tuple(boot), notes=tuple(notes),
                 instead=f"take {key} out of {table.path} and run: systemctl reload autofs")


def _location(words: List[str], fstype: str) -> str:
    """What is mounted, servers in the order of their weight; "!" and a reason where one mount cannot say it."""
    if fstype in SMB_TYPES:
        return words[0][1:] if words[0].startswith("://") else words[0]
    if fstype not in NFS_TYPES:
        return words[0][1:] if words[0].startswith(":") else words[0]
    hosts: List[Tuple[int, str]] = []
    paths = set()
    for word in words:
        cut = word.find(":/", word.find("]") + 1)
        if cut < 1:
            return f"!{word} is no HOST:/PATH"
        paths.add(word[cut + 1 :])
        for name in word[:cut].split(","):
            host, bracket, weight = name.partition("(")
            if bracket and not (weight.endswith(")") and weight[:-1].isdigit()):
                return f"!{word} has a weight that is no number"
            hosts.append((int(weight[:-1]) if bracket else 0, host))
    if len(paths) > 1:
        return f"!its servers export it under different paths ({', '.join(sorted(paths))}); a pool has one export"
    hosts.sort(key=lambda one: one[0])  # the lower, the better; equal ones keep their order
    return f"{','.join(host for _, host in hosts)}:{paths.pop()}"


def logical(text: str) -> List[Line]:
    """Lines with a backslash at their end joined, comments and blank ones left out; quotes keep blanks together."""
    found: List[Line] = []
    held, start = "", 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = held + raw.lstrip() if held else raw
        start = start if held else number
        if line.endswith("\\"):
            held = line[:-1] + " "
            continue
        held = ""
        words = _words(line)
        if words:
            found.append(Line(start, tuple(words)))
    words = _words(held)
    return found + ([Line(start, tuple(words))] if words else [])


def _words(line: str) -> List[str]:
    words: List[str] = []
    word, quoted, escaped = "", False, False
    for char in line:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "#" and not quoted and not word:
            break
        elif char.isspace() and not quoted:
            words += [word] if word else []
            word = ""
        else:
            word += char
    return words + ([word] if word else [])
