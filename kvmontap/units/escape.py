"""Names of units, as systemd.unit(5) makes them from paths and strings, and values as a unit file takes them.

Pure; imports `os` for the bytes of a path.  On the boot path.
"""

import os

UNIT_NAME_MAX = 255  # bytes of a unit's name with its suffix; a longer one systemd refuses or, newer, hashes

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.")


def path_unit(path: str, suffix: str) -> str:
    """The unit for an absolute path: path_unit("/mnt/a-b", "mount") -> "mnt-a\\x2db.mount"."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return f"{string('/'.join(parts)) if parts else '-'}.{suffix}"


def instance(template: str, name: str) -> str:
    """The instance of a template: instance("x@.service", "a/b") -> "x@a-b.service"."""
    stem, suffix = template.split("@")
    return f"{stem}@{string(name)}{suffix}"


def string(text: str) -> str:
    """`text` as systemd-escape(1) writes it: "/" becomes "-", what a unit's name cannot have becomes \\xNN."""
    data = os.fsencode(text)
    if not text.startswith(".") and _PLAIN.issuperset(data):
        return text
    out = []
    for place, byte in enumerate(data):
        if byte == 0x2F:
            out.append("-")
        elif byte in _PLAIN and not (place == 0 and byte == 0x2E):
            out.append(chr(byte))
        else:
            out.append(f"\\x{byte:02x}")
    return "".join(out)


def specifiers(text: str) -> str:
    """`text` for a setting in which "%" begins a specifier."""
    return text.replace("%", "%%")


def whole_line(text: str) -> bool:
    """Whether a setting can have `text` as its value: unit files cut blanks off a value's ends, a backslash at the end joins
    the next line, and a control character would end the line or the value."""
    return text == text.strip() and not text.endswith("\\") and not any(char < " " or char == "\x7f" for char in text)
