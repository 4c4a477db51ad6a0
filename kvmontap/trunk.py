"""Session trunking: a transport to every address of the server that answers.

What the kernel does by itself (trunkdiscovery) depends on what the server tells of its addresses.  What is missing then is
added by mounting the same export from the missing address once more, in a mount namespace of its own that ends with that
mount: the session keeps the transport.  /sys/kernel/sunrpc is only read; writing there has crashed kernels.
"""

import os
import time
from typing import Callable, Dict, List, Mapping, Tuple

from kvmontap.host.address import plain
from kvmontap.host.nfs import Transport, read

BUDGET = 20.0  # seconds for all missing addresses together: boot waits for this
EACH = 10.0  # seconds for one of them

Switches = Mapping[str, Tuple[Transport, ...]]
# host, directory, command in front, seconds -> (exit code, reason)
Mounter = Callable[[str, str, Tuple[str, ...], float], Tuple[int, str]]


def complete(
    first: str,
    others: Dict[str, str],
    before: Switches,
    mounter: Mounter,
    deadline: float,
    root: str = "/",
    run: str = "/run",
    unshare: str = "/usr/bin/unshare",
) -> List[str]:
    """Mount from each of `others` (host -> numeric address) that the session of address `first` has no transport to.

    `before` are the switches as they were before the first mount.  Returns one clause for each that stays missing."""
    deadline = min(deadline, time.monotonic() + BUDGET)
    failed: Dict[str, str] = {}
    for host, address in others.items():
        if plain(address) in held(read(root), before, first):
            continue
        left = min(EACH, deadline - time.monotonic())
        failed[host] = _join(host, mounter, left, run, unshare) if left > 0 else "no time is left"
    have = held(read(root), before, first)
    return [
        f"no transport to {host}: {failed.get(host) or 'the server made it a session of its own'}"
        for host, address in others.items()
        if plain(address) not in have
    ]


def held(now: Switches, before: Switches, first: str) -> Tuple[str, ...]:
    """The addresses that the session mounted from `first` has transports to.  Pure.

    The kernel does not tell which switch is whose.  One that was not there before is ours; where there is no such, the mount joined
    a client that was there, and of those that hold its address the fullest counts."""
    ours = [name for name, transports in now.items() if plain(first) in _addresses(transports)]
    fresh = [name for name in ours if name not in before]
    best = max((_addresses(now[name]) for name in fresh or ours), key=len, default=())
    return best


def _addresses(transports: Tuple[Transport, ...]) -> Tuple[str, ...]:
    return tuple(dict.fromkeys(plain(one.address) for one in transports))


def _join(host: str, mounter: Mounter, left: float, run: str, unshare: str) -> str:
    """The second mount; "" or why it failed.  Its directory is another one: the kernel refuses the same file system twice on one."""
    directory = f"{run}/kvmontap-trunk.{os.urandom(6).hex()}"
    try:
        os.mkdir(directory, 0o700)
        # -n: nothing may be written of it to /run/mount/utab, which is everybody's.
        code, reason = mounter(host, directory, (unshare, "--mount", "--propagation", "private", "--"), left)
        return reason if code else ""
    except OSError as error:
        return f"{run}: {error.strerror}"
    finally:
        try:
            os.rmdir(directory)
        except OSError:
            pass  # a mount that hangs still holds it; /run is empty again after the next boot
