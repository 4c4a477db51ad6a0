"""multipath's list of the LUNs that it has mapped before: one that is in it gets a map also while it has a single path.

multipath itself locks the file in the same way.
"""

import fcntl
import os

FILE = "/etc/multipath/wwids"
_HEAD = "# Multipath wwids, Version : 1.0\n"


def add(wwid: str, path: str = FILE) -> None:
    """Enters a LUN; raises OSError."""
    entry = f"/{wwid}/\n"
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        stream.seek(0)
        text = stream.read()
        if entry not in text:
            stream.write(("" if text else _HEAD) + ("\n" if text and not text.endswith("\n") else "") + entry)


def drop(wwid: str, path: str = FILE) -> None:
    """Takes a LUN out again, where it is there; raises OSError."""
    try:
        with open(path, "r+", encoding="utf-8") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX)
            lines = stream.readlines()
            kept = [line for line in lines if line != f"/{wwid}/\n"]
            if kept != lines:
                stream.seek(0)
                stream.write("".join(kept))
                stream.truncate()
    except FileNotFoundError:
        return
