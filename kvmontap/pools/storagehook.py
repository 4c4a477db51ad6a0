"""The storage hook, in libvirt's calling convention: POOL OP SUBOP EXTRA, the pool's XML on stdin, exit 1 = it must not be active.

libvirt itself has no such hook.  kvmontapd runs this one (kvmontap.recovery.pools), and stops the pool where it says 1; so may an
administrator.  It calls no libvirt itself.  `start begin` and `started begin` decide, everything else succeeds in silence.  One sentence on
stderr says why; nothing goes to stdout.

A dir pool is told by where it lies, under whatever name, since libvirt starts one on an empty directory as readily as on a mount.
The stop of an fs or netfs pool unmounts what lies there, whoever mounted it: such a pool is never to be stopped, only told about.
"""

import os
import sys
from typing import Callable, Iterable, NamedTuple, Optional, Sequence, Tuple

from kvmontap import applied
from kvmontap.config import load, path_from_environment
from kvmontap.host.mountinfo import is_below
from kvmontap.host.probe import Prober
from kvmontap.model import Finding, Pool
from kvmontap.pools import xml
from kvmontap.pools.apply import mounted
from kvmontap.pools.plan import ABSENT, SILENT

PROBES = "/run/kvmontap/probes"  # shared with the daemon: one question at a time for each mount
START, STARTED = "start", "started"


class Judgement(NamedTuple):
    """What is to become of a pool."""

    stop: bool = False
    sentence: str = ""  # "" = nothing to tell


def concerned(shape: xml.Shape, pools: Iterable[Pool]) -> Optional[Pool]:
    """The pool of ours that a pool of libvirt lies on, the innermost of several; None = none.  Pure."""
    found = [pool for pool in pools if pool.target and shape.target and is_below(shape.target, pool.target)]
    return max(found, key=lambda pool: len(pool.target), default=None)


def judge(name: str, op: str, shape: xml.Shape, findings: Tuple[Finding, ...]) -> Judgement:
    """What follows for libvirt's pool `name` from the findings of the mount that it lies on.  Pure.

    One whose storage is only silent is not started, but not stopped either: its volumes are there."""
    codes = ABSENT + SILENT if op == START else ABSENT
    away = next((one for one in findings if one.code in codes), None)
    if away is None:
        return Judgement()
    said = f"kvmontap: pool {name}: {away.text}"
    if shape.type == xml.DIR:
        return Judgement(True, f"{said}, so the pool must not be active: it would show and fill another directory; {away.fix}")
    if op == START:
        return Judgement()  # it mounts by itself
    return Judgement(False, f"{said}; the pool is left alone, because stopping it would unmount what is there; {away.fix}")


def run(argv: Sequence[str], text: str, look: Callable[[Pool], Tuple[Finding, ...]]) -> Judgement:
    """The hook with the arguments `argv` and the pool's XML; `look` finds what is wrong with a mount."""
    name, op, subop = argv[:3]
    if op not in (START, STARTED) or subop != "begin":
        return Judgement()
    shape = xml.read(text)
    loaded = load(path_from_environment())
    # A section that has become broken keeps its mount, and its pool is judged as before.
    old = applied.carried(loaded, applied.read()) if loaded.problems else {}
    pool = concerned(shape, {**loaded.config.pools, **old}.values())
    return Judgement() if pool is None else judge(name, op, shape, look(pool))


def main() -> None:
    """Run the hook and end the process: 0 fine, 1 the pool must not be active, 2 usage.  A fault of ours stops no pool."""
    argv = sys.argv[1:]
    if len(argv) < 3:
        print("usage: hooks/storage POOL OP SUBOP EXTRA < pool.xml", file=sys.stderr)
        os._exit(2)
    prober = Prober(locks=PROBES)
    try:
        found = run(argv, sys.stdin.read(), lambda pool: mounted(pool, prober))
    except Exception as error:  # noqa: BLE001 - whatever fails in here must not take a pool from its VMs
        found = Judgement(False, f"kvmontap: pool {argv[0]} was not checked, kvmontap itself failed: {type(error).__name__}: {error}")
    prober.close()
    if found.sentence:
        print(" ".join(found.sentence.split()), file=sys.stderr, flush=True)
    # Not sys.exit(): a thread that waits for a hung mount must not keep us.
    os._exit(int(found.stop))


if __name__ == "__main__":
    main()
