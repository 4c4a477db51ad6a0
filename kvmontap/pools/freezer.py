"""A process of its own that freezes a VM's file systems through its guest agent and always thaws them: URI UUID SECONDS are its arguments.

It obeys lines on its standard input: "freeze", then "thaw".  It thaws as well when its deadline, counted from the freeze, is over, and when
its input ends, as it does when whoever started it is killed.  It answers each order with one line of JSON:
    {"done": "freeze" | "thaw" | "late", "count": file systems, "error": sentence or ""}
"late" comes unasked, for a thaw at the deadline.
"""

import json
import select
import sys
import time
from typing import Dict, List, Sequence

from kvmontap.pools.libvirtd import Libvirt, PoolError

AGENT = 5.0  # seconds for the agent's answer to a thaw
TRIES = 4  # a guest that does not thaw is asked again so many times, every AGENT seconds


def main(argv: Sequence[str]) -> int:
    """0 where nothing is frozen at the end, 1 where the guest did not thaw or nobody knows."""
    uri, uuid, seconds = argv[0], argv[1], float(argv[2])
    with Libvirt(uri) as libvirt:
        answer("ready", 0, "")
        if not ordered("freeze", None):
            return 0
        until = time.monotonic() + seconds
        try:
            answer("freeze", libvirt.freeze(uuid, seconds), "")
        except PoolError as error:
            # It may be frozen all the same: an answer that came too late.
            left = thaw(libvirt, uuid)
            answer("freeze", 0, f"{error}" + (f"; and it does not thaw: {left['error']}" if left["error"] else ""))
            return int(bool(left["error"]))
        asked = ordered("thaw", until)
        done = thaw(libvirt, uuid)
        answer("thaw" if asked else "late", int(done["count"]), str(done["error"]))
        return int(bool(done["error"]))


def ordered(what: str, until: object) -> bool:
    """Whether the order came; False where the input ended or the time was over first."""
    left = None if until is None else max(0.0, float(str(until)) - time.monotonic())
    ready: List = select.select([sys.stdin.fileno()], [], [], left)[0]
    return bool(ready) and sys.stdin.readline().strip() == what


def thaw(libvirt: Libvirt, uuid: str) -> Dict[str, object]:
    """{"count", "error"}; asks again and again, for a guest that stays frozen is as good as dead."""
    error = ""
    for number in range(TRIES):
        try:
            return {"count": libvirt.thaw(uuid, AGENT), "error": ""}
        except PoolError as failed:
            error = str(failed)
            time.sleep(0 if number == TRIES - 1 else 1.0)
    return {"count": 0, "error": error}


def answer(done: str, count: int, error: str) -> None:
    """One line; whoever waited for it may be gone."""
    try:
        print(json.dumps({"done": done, "count": count, "error": error}), flush=True)
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
