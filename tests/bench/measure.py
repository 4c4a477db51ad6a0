"""What every measurement is made of: whole processes, from spawn to exit, ours and its peer in turn.

A ratio is the median of the ratios of neighbouring runs, so that a machine whose speed drifts moves both.
"""

import os
import statistics
import subprocess
import time
from typing import Callable, List, NamedTuple, Optional, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
BARE = (PYTHON, "-I", "-c", "pass")
PAIRS = 21


class Figure(NamedTuple):
    """One line of the table: the median, the quartiles around it, out of `runs`; fails above `bound`."""

    what: str
    value: float
    low: float
    high: float
    unit: str  # "x" for a ratio
    runs: int
    bound: Optional[float] = None  # None: told, not judged

    @property
    def passed(self) -> bool:
        return self.bound is None or self.value <= self.bound


def figure(what: str, values: Sequence[float], unit: str, bound: Optional[float] = None) -> Figure:
    """The Figure of several runs, or of one."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Figure(what, statistics.median(values), low, high, unit, len(values), bound)


def seconds(command: Sequence[str], env=None) -> float:
    """How long the command takes; raises CalledProcessError where it fails."""
    start = time.perf_counter()
    subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def cpu_seconds(command: Sequence[str], env=None) -> float:
    """How much processor time the command takes: what else runs on the machine hardly counts."""
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime


def in_turn(ours: Callable[[], float], peer: Callable[[], float], pairs: int = PAIRS) -> List[float]:
    """ours/peer, pair by pair, after one of each that does not count."""
    ours(), peer()
    return [ours() / peer() for _ in range(pairs)]


def compare(what: str, ours: Sequence[str], peer: Sequence[str], bound: Optional[float], env=None, pairs: int = PAIRS) -> Figure:
    """Two commands in turn."""
    return figure(what, in_turn(lambda: seconds(ours, env), lambda: seconds(peer, env), pairs), "x", bound)


def installed(place: str, vendor: str) -> str:
    """The package and its bundled libraries with their .pyc in the directory `place`, for PYTHONPATH."""
    parts = [os.path.join(ROOT, "kvmontap"), *(os.path.join(vendor, name) for name in os.listdir(vendor))]
    subprocess.run(["cp", "-r", *parts, place], check=True)
    subprocess.run([PYTHON, "-m", "compileall", "-q", place], check=True)
    return place


def in_package(package: str, module: str, *arguments: str) -> List[str]:
    """The command that runs `module`.main as its installed shim does."""
    given = "sys.argv[1:]" if module == "kvmontap.hook" else "sys.argv"
    shim = f"import sys; sys.path.insert(0, {package!r}); from {module} import main; sys.exit(main({given}))"
    return [PYTHON, "-I", "-c", shim, *arguments]
