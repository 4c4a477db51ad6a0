"""What is to be done to a pool in libvirt, from what libvirt has and what the host sees.  Pure.

The rules.  A pool that libvirt does not know is defined.  One that it knows is never redefined, nor is its autostart flag
touched: somebody may have wanted it so; what differs is shown.  A dir pool starts on an empty directory as readily as on a
mount (libvirt looks at nothing), so one is started only where its storage is there.  It carries libvirt's autostart flag all
the same, because a VM that names its disks by pool and volume is autostarted by libvirt itself, before anybody else can start
the pool; where the mount has failed, the dir pool that libvirt has then started is stopped again.  Stopping a dir pool touches
neither files nor mount nor running VMs.
"""

from typing import NamedTuple, Optional, Tuple

from kvmontap.model import Finding, Pool
from kvmontap.pools import xml

# Steps, in the order in which they are taken.
DEFINE = "define"
BUILD = "build"  # for netfs no more than mkdir(2) of the target
AUTOSTART = "autostart"
START = "start"
STOP = "stop"

# The findings with which the directory is not the pool's storage, and those with which it cannot be read.
ABSENT = ("mount.missing", "mount.wrong-source", "mount.wrong-type", "path.none")
SILENT = ("mount.no-answer", "mount.stale", "mount.error")


# Types that libvirt attaches itself: before their start there is nothing to be looked at.
ITSELF = (xml.NETFS, "iscsi", "iscsi-direct")


class State(NamedTuple):
    """What libvirt knows of a pool."""

    xml: str  # the persistent definition where there is one
    active: bool
    autostart: bool
    persistent: bool = True


class Remark(NamedTuple):
    """What is to be told about a pool, beside what is done."""

    what: str  # "differs", "flag-differs", "waiting", "unsupported"
    text: str
    fix: str = ""


class Plan(NamedTuple):
    """Steps to take, and what to tell."""

    steps: Tuple[str, ...] = ()
    remarks: Tuple[Remark, ...] = ()


def plan(pool: Pool, state: Optional[State], findings: Tuple[Finding, ...]) -> Plan:
    """Steps and remarks for one pool; `state` None = libvirt has no such pool; `findings` of its mount, () where all is well."""
    away = next((finding for finding in findings if finding.code in ABSENT + SILENT), None) if pool.type not in ITSELF else None
    waiting = () if away is None else (Remark("waiting", f"{away.text}, so the pool is not started", _then_apply(away)),)
    if state is None:
        define = (DEFINE, BUILD) if pool.type in xml.MADE else (DEFINE,)
        if not pool.autostart:
            return Plan(define)
        return Plan(define + (AUTOSTART,) + (() if away else (START,)), waiting)
    differs = _differs(pool, state)
    if differs:
        return Plan((), differs)
    flag = _flag(pool, state)
    if pool.type == xml.DIR and away is not None and away.code in ABSENT and state.active:
        stopped = Remark("waiting", f"{away.text}, so the pool is stopped: it would show and fill the empty directory",
                         _then_apply(away))
        return Plan((STOP,), flag + (stopped,))
    if state.active or not (pool.autostart and state.autostart):
        return Plan((), flag)
    return Plan(() if away else (START,), flag + waiting)


def _then_apply(away: Finding) -> str:
    return f"{away.fix}; then run: kvmontap pool apply" if away.fix else "when it is back, run: kvmontap pool apply"


def _differs(pool: Pool, state: State) -> Tuple[Remark, ...]:
    try:
        found = xml.differences(xml.shape(pool), xml.read(state.xml))
    except ValueError as error:
        found = (str(error),)
    if not found and not state.persistent:
        found = ("it is transient: libvirt forgets it when it is stopped",)
    fix = f"make the configuration say so, or run: virsh pool-destroy {pool.name}; virsh pool-undefine {pool.name}; kvmontap pool apply"
    return (Remark("differs", f"libvirt's pool is another, and is left as it is: {'; '.join(found)}", fix),) if found else ()


def _flag(pool: Pool, state: State) -> Tuple[Remark, ...]:
    if pool.autostart == state.autostart:
        return ()
    ours, theirs = ("yes", "off") if pool.autostart else ("no", "on")
    fix = f"virsh pool-autostart {'' if pool.autostart else '--disable '}{pool.name}"
    return (Remark("flag-differs", f"the configuration says autostart = {ours}, in libvirt it is {theirs} and is left so", fix),)
