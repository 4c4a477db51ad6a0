"""fstab(5) as text: entries, and lines that are none.  Pure."""

from typing import List, Union

from kvmontap.importing.draft import Entry, Left
from kvmontap.importing.options import split


def read(text: str, origin: str = "/etc/fstab") -> List[Union[Entry, Left]]:
    """Every line of `text` that is not blank or a comment."""
    found: List[Union[Entry, Left]] = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 3:
            found.append(Left(origin, number, line.strip(), "has fewer than three fields"))
            continue
        what, where = (unescape(field) for field in fields[:2])
        options = split(unescape(fields[3])) if len(fields) > 3 else ()
        checked = len(fields) > 5 and fields[5] != "0"
        notes = ("fsck at boot is not carried: a pool is not checked by the host",) if checked else ()
        found.append(Entry(origin, number, what, "/" + where.strip("/") if where.startswith("/") else where, fields[2], options,
                           notes=notes, instead=f"comment out line {number} of {origin}"))
    return found


def unescape(field: str) -> str:
    """A field with its octal escapes (\\040 = blank) replaced; bytes, since a name may be any."""
    parts = field.split("\\")
    out = bytearray(parts[0].encode("utf-8", "surrogateescape"))
    for part in parts[1:]:
        code = part[:3]
        if len(code) == 3 and all(char in "01234567" for char in code) and int(code, 8) < 256:
            out.append(int(code, 8))
            out += part[3:].encode("utf-8", "surrogateescape")
        else:
            out += b"\\" + part.encode("utf-8", "surrogateescape")
    return out.decode("utf-8", "surrogateescape")
