"""`snapshot create --quiesce`: the VM's file systems are frozen while the array takes the snapshot.

kvmontap.pools.freezer does it in a process of its own, which thaws at its deadline and when this process dies; that there is a freeze is
written down first, for the case that both are killed: kvmontap tidy thaws then.
"""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Tuple

from kvmontap.cli import vm as vms
from kvmontap.cli.bringing import say
from kvmontap.pools.freezer import AGENT, TRIES, thaw
from kvmontap.pools.libvirtd import Libvirt, PoolError
from kvmontap.snapshots import Outcome
from kvmontap.snapshots.work import Work, WorkError

Outcomes = Tuple[Outcome, ...]
KIND = "freeze"
SECONDS = 30.0  # a guest is not frozen for longer, whatever happens
_START = 20.0  # seconds until the freezer is ready
# As this process finds its modules, and nothing else of its environment.
_CODE = "import sys; sys.path[:] = {path!r}; from kvmontap.pools.freezer import main; sys.exit(main(sys.argv[1:]))"


__all__ = ["KIND", "PoolError", "WorkError", "frozen", "take", "thawed"]


class Frozen:
    """What became of it; `late`: the guest was thawed before the work was over; `stuck`: it does not thaw."""

    late = False
    stuck = False


@contextmanager
def frozen(found: vms.Vm, uri: str, seconds: float = SECONDS) -> Iterator[Frozen]:
    """The VM's file systems are frozen inside; raises WorkError where they could not be, and nothing stays frozen."""
    if found.machine.off:
        raise WorkError("it is off: there is nothing to freeze; leave out --quiesce")
    with Work(f"{KIND}-{found.machine.uuid}") as work:
        _thawed_before(work)
        work.write({"kind": KIND, "uuid": found.machine.uuid, "vm": found.machine.name, "uri": uri})
        command = [sys.executable, "-I", "-c", _CODE.format(path=sys.path), uri, found.machine.uuid, str(seconds)]
        state = Frozen()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
                              start_new_session=True) as freezer:
            try:
                _said(freezer, _START)
                told = _order(freezer, "freeze", seconds + TRIES * (AGENT + 1))
                if told["error"]:
                    raise WorkError(f"its guest agent did not freeze: {told['error']}")
                say(f"VM {found.machine.name}: {told['count']} file systems are frozen")
                yield state
            finally:
                _thaw(freezer, found.machine.name, work, state)


def take(found: vms.Vm, uri: str, work: Callable[[float], Outcomes]) -> Outcomes:
    """work(deadline) with the VM frozen; raises WorkError where the VM had to go on before that was over."""
    with frozen(found, uri) as state:
        outcomes = work(time.monotonic() + SECONDS)
    if state.late or state.stuck:
        why = "it went on before the array was done, so this is as of a power cut" if state.late else "it was taken, but the VM is stuck"
        raise WorkError(f"{why}: " + ", ".join(f"{one.volume}: {one.name}" for one in outcomes if one.name))
    return outcomes


def _thaw(freezer: "subprocess.Popen[str]", vm: str, work: Work, state: Frozen) -> None:
    """Has it thawed, and says loudly where it does not."""
    try:
        told = _order(freezer, "thaw", TRIES * (AGENT + 1))
    except (WorkError, OSError):
        told = {"done": "late", "error": ""} if freezer.wait() == 0 else {"done": "late", "error": "its process ended"}
    state.late = told["done"] != "thaw"
    if told["error"] and told["done"] != "freeze":
        say(f"VM {vm} IS STILL FROZEN: {told['error']}; its programs hang until it thaws: virsh domfsthaw {vm}, or reset it")
        state.stuck = True
        return  # the journal stays, so that tidy tries again
    work.forget()


def _thawed_before(work: Work) -> None:
    """Thaws what an earlier run left frozen."""
    if work.read() is not None:
        for line in thawed(work):
            say(line)


def thawed(work: Work) -> List[str]:
    """Thaws the VM of the journal; raises WorkError where it does not."""
    value = work.read() or {}
    with Libvirt(value["uri"]) as libvirt:
        machine = libvirt.known(value["uuid"])
        if machine is not None and not machine.off:
            done = thaw(libvirt, value["uuid"])
            if done["error"]:
                raise WorkError(f"VM {value['vm']} may be frozen still: {done['error']}; run: virsh domfsthaw {value['vm']}, or reset it")
    work.forget()
    return [f"VM {value['vm']} is thawed, which an interrupted snapshot had frozen"]


def _order(freezer: "subprocess.Popen[str]", what: str, seconds: float) -> Dict:
    if freezer.stdin is not None:
        try:
            freezer.stdin.write(what + "\n")
            freezer.stdin.flush()
        except BrokenPipeError:
            pass  # it has thawed by itself; its last words are still there
    return _said(freezer, seconds)


def _said(freezer: "subprocess.Popen[str]", seconds: float) -> Dict:
    """Its next line; raises WorkError where none comes."""
    if freezer.stdout is None:
        raise WorkError("it has no output")
    until = time.monotonic() + seconds
    if not select.select([freezer.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
        freezer.kill()
        raise WorkError(f"libvirt did not answer within {seconds:.0f} s")
    line = freezer.stdout.readline()
    if not line:
        raise WorkError(f"libvirt does not answer at all; look at: systemctl status libvirtd (process {os.getpid()})")
    told = json.loads(line)
    return told if isinstance(told, dict) else {}
