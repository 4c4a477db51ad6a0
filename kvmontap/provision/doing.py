"""Carries out what `formatting` has planned on this host.  An edge: formats a device that has just been seen to be empty, and no other."""

import subprocess
from typing import Callable, Iterator, Tuple

from kvmontap.host.contents import Contents
from kvmontap.model import Pool
from kvmontap.provision.formatting import DONE, FORMAT, Plan, Step
from kvmontap.units.block import attach_unit

_SECONDS = 3600.0  # for one command: a file system of many TiB takes its time


class CannotDo(Exception):
    """What failed, one sentence; what is after it was not done."""


def carry_out(made: Plan, pool: Pool, look: Callable[[], Contents], again: Callable[[Contents], Plan]) -> Iterator[Tuple[Step, str]]:
    """Runs the steps of a plan, giving each with what it said before the next one begins; raises CannotDo.

    look: reads the device anew; again: the plan that follows from it.  The device is read right before it is formatted, because time has
    passed since somebody agreed, and right after, because a command that says nothing may have done nothing.
    """
    steps = list(made.steps)
    if made.state == FORMAT:
        now = again(look())
        if now.state != FORMAT or now.steps[0] != steps[0]:
            raise CannotDo(f"{made.device} is not what it was when you agreed: {now.reason}; nothing was formatted")
        step = steps.pop(0)
        yield step, _run(step, "y\n" if pool.filesystem == "gfs2" else "")  # mkfs.gfs2 asks in any case
        after = again(look())
        if after.state != DONE:
            raise CannotDo(f"{step.argv[0]} ended well, and yet {made.device} {after.reason}")
    for step in steps:
        yield step, _run(step, "")


def attach(pool: Pool) -> None:
    """Brings the pool's device up, as its mount would; raises CannotDo."""
    for argv in (("systemctl", "daemon-reload"), ("systemctl", "start", attach_unit(pool))):
        _run(Step("one host", argv), "")


def _run(step: Step, answer: str) -> str:
    try:
        done = subprocess.run(step.argv, input=answer, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS)
    except FileNotFoundError:
        raise CannotDo(f"{step.argv[0]} is not installed; run: kvmontap doctor") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotDo(f"{step.text} did not run: {error}") from None
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise CannotDo(f"{step.text} failed: {' '.join(said.split())[-500:] or f'exit status {done.returncode}'}")
    return said
