"""Every measurement by name, and the table of what they found."""

import os
import platform
import shutil
from pathlib import Path
from typing import Callable, Dict, List, Sequence

from tests.bench import daemon, generator, storm, virsh
from tests.bench.measure import BARE, ROOT, Figure, compare

Measurement = Callable[[str, Path], List[Figure]]


def nothing_to_decide(package: str, work: Path) -> List[Figure]:
    """Three of a start's five calls."""
    ours = ["/bin/sh", os.path.join(ROOT, "hooks/qemu"), "vm", "started", "begin", "-"]
    return [compare("hook, an operation that decides nothing / python3 -I", ours, BARE, 0.4)]


SHORT: Dict[str, Measurement] = {
    "generator": generator.five_pools,
    "many-pools": generator.five_hundred_pools,
    "nothing": nothing_to_decide,
    "verdict": daemon.warm_verdict,
    "virsh": lambda package, work: virsh.start_of_a_vm(work),
    "rest": daemon.at_rest,
    "storm": storm.autostart,
}
# Minutes each: for docs/performance.md, not for every change.
LONG: Dict[str, Measurement] = {
    "events": lambda package, work: daemon.at_rest(package, work, pools=200, events=10_000, watch=120.0),
    "hosts": storm.many_hosts,
}


def machine() -> str:
    """What these figures were measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{model}, {len(os.sched_getaffinity(0))} of its processors, {memory:.0f} GiB, Linux {platform.release()}, "
            f"load {os.getloadavg()[0]:.1f}")


def table(figures: Sequence[Figure]) -> str:
    """The figures as a table, in Markdown."""
    rows = [("what", "median", "quartiles", "runs", "bound", "")]
    for one in figures:
        value, low, high = (_number(number) for number in (one.value, one.low, one.high))
        unit = f" {one.unit}" if one.unit and one.unit != "x" else one.unit
        rows.append((one.what, f"{value}{unit}", f"{low} to {high}" if one.runs > 1 else "", str(one.runs),
                     "" if one.bound is None else f"<= {_number(one.bound)}{unit}", _judged(one)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _judged(one: Figure) -> str:
    return "" if one.bound is None else "ok" if one.passed else "MISSED"


def _number(number: float) -> str:
    return f"{number:.0f}" if number == int(number) or number >= 100 else f"{number:.2f}"


def room(work: Path, name: str) -> Path:
    """A fresh directory for one measurement."""
    made = work / name
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    return made
