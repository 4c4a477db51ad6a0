"""The program of kvmontap-pools.service: apply once, tell the journal, be done within a deadline.

Exit 0 where every pool is as configured or only waits for its storage, 1 where somebody has to look at a pool.
"""

import os
import sys
import threading
from typing import List

from kvmontap.config import load, path_from_environment
from kvmontap.pools.apply import Change, apply
from kvmontap.pools.libvirtd import Libvirt, PoolError

# libvirt accepts a client only after it has autostarted its VMs one by one, which may take many minutes.
SECONDS = 900.0

# sd-daemon(3): what goes before a line on stderr for the journal to know its priority.
_ERROR, _WARNING, _INFO = "<3>", "<4>", "<6>"


def main(seconds: float = SECONDS) -> int:
    """Apply the configuration to libvirt's pools."""
    config = load(path_from_environment()).config
    if not config.pools:
        return 0
    codes: List[int] = []
    # libvirt's calls cannot be interrupted: they are made beside us, and go down with us.
    worker = threading.Thread(target=lambda: codes.append(_apply(config)), daemon=True)
    worker.start()
    worker.join(seconds)
    if codes:
        return codes[0]
    if not worker.is_alive():
        return 1  # a bug, whose traceback is in the journal
    _say(_ERROR, f"libvirt has not answered for {seconds:.0f} s; when it does, run: kvmontap pool apply")
    sys.stderr.flush()
    os._exit(1)  # the interpreter would wait for libvirt's lock


def _apply(config) -> int:  # type: ignore[no-untyped-def]
    try:
        with Libvirt() as connection:
            changes = apply(config, connection)
    except PoolError as error:
        _say(_ERROR, str(error))
        return 1
    for change in changes:
        _say(_level(change), str(change))
    return int(any(change.wrong for change in changes))


def _level(change: Change) -> str:
    if change.wrong:
        return _ERROR
    return _WARNING if change.what in ("waiting", "flag-differs", "unsupported") else _INFO


def _say(level: str, text: str) -> None:
    print(level + text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
