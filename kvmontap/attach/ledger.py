"""What we brought up and which pools use it, under /run/kvmontap/attached: one file per kind, changed under a lock.

A session or controller serves every LUN or namespace of its target, so several pools share it; it goes down with the last of
them.  What was there before us is never entered, and so never taken down.
"""

import fcntl
import json
import os
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List

DIRECTORY = "/run/kvmontap/attached"


def directory() -> str:
    """KVMONTAP_ATTACHED, or the directory of the installed package."""
    return os.environ.get("KVMONTAP_ATTACHED") or DIRECTORY


class Ledger:
    """{what: pools that use it} of one kind, for example of iSCSI sessions."""

    def __init__(self, entries: Dict[str, List[str]]) -> None:
        self.entries = entries

    def __contains__(self, what: str) -> bool:
        return what in self.entries

    def use(self, what: str, pool: str, made: bool) -> None:
        """`pool` uses `what`; `made` = we brought it up just now.  What somebody else brought up is not entered."""
        if made:
            self.entries.setdefault(what, [])
        if what in self.entries and pool not in self.entries[what]:
            self.entries[what].append(pool)

    def used_by(self, pool: str) -> List[str]:
        """What of ours the pool uses."""
        return [what for what, pools in self.entries.items() if pool in pools]

    def only(self, pool: str) -> List[str]:
        """What of ours nobody but the pool uses: it goes down with it."""
        return [what for what, pools in self.entries.items() if pools == [pool]]

    def release(self, pool: str, gone: Iterable[str] = ()) -> None:
        """`pool` uses nothing any more; `gone` has been taken down."""
        for what in gone:
            self.entries.pop(what, None)
        for what in self.used_by(pool):
            self.entries[what].remove(pool)


@contextmanager
def opened(kind: str) -> Iterator[Ledger]:
    """The ledger of `kind`, alone for us until the end of the block, then written."""
    os.makedirs(directory(), mode=0o755, exist_ok=True)
    path = os.path.join(directory(), f"{kind}.json")
    with open(f"{path}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ledger = Ledger(_read(path))
        try:
            yield ledger
        finally:  # what was brought up before an error is entered too
            temporary = f"{path}.new"
            with open(temporary, "w", encoding="utf-8") as stream:
                json.dump(ledger.entries, stream, indent=1)
            os.rename(temporary, path)


def _read(path: str) -> Dict[str, List[str]]:
    try:
        with open(path, encoding="utf-8") as stream:
            entries = json.load(stream)
    except (OSError, ValueError):
        return {}
    return {str(what): [str(pool) for pool in pools] for what, pools in entries.items()} if isinstance(entries, dict) else {}
