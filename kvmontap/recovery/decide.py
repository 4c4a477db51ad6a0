"""What is to be brought back, and when it is tried again.  Pure.

The rules.  A unit is started again where it failed, or never ran because one that it needs failed; one that ran and was stopped is left
alone, for an administrator stopped it.  A pool is started in libvirt where it was stopped, or not started, for want of its storage.  A VM
is started where libvirt's autostart of it was refused by our gate, still is its autostart, and nobody has started it since; the gate
decides again.  Another error than the gate's is told and not tried for ever: the VM may well run on another host that locks its disks.
"""

from typing import Iterable, NamedTuple, Optional, Sequence, Tuple

from kvmontap.gate.verdict import refuses
from kvmontap.model import FAILED, FILE_PROTOCOLS, Finding, Pool, PoolHealth
from kvmontap.pools.libvirtd import Guest
from kvmontap.units.block import CLUSTER, DEVICE_TYPES, LIBVIRT_TYPES, attach_unit
from kvmontap.units.bundle import attached
from kvmontap.units.escape import instance, path_unit

START, RELOAD = "start", "reload"
FORGET = "forget"
# Seconds after its refusal for which a VM is started where no lock would tell that another host has started it meanwhile.
UNLOCKED = 1800.0
ATTEMPTS = 3  # at the start of a VM, for errors that are none of the gate's
# Of QEMU's image locking and of libvirt's lock managers.
_LOCKED = ("lock", "another process")
_REFUSED = "kvmontap refuses"


class Backoff(NamedTuple):
    """How often something was tried in vain, and when it may be tried again (monotonic seconds)."""

    tries: int = 0
    due: float = 0.0

    def again(self, now: float, first: float, most: float) -> "Backoff":
        """After one more try: each pause is twice the one before."""
        return Backoff(self.tries + 1, now + min(most, first * 2.0 ** min(self.tries, 30)))


class Unit(NamedTuple):
    """A unit as systemd has it."""

    active: str = "inactive"  # ActiveState
    ran: bool = False  # it has been active since boot
    known: bool = True  # it is loaded
    job: bool = False  # something is about to become of it


NOTHING = Unit(known=False)


class Step(NamedTuple):
    """What to do to which unit."""

    what: str  # START, RELOAD
    unit: str


def units(pool: Pool) -> Tuple[str, ...]:
    """The units that bring a pool up: the one to start for all of it, then those that it needs; () where libvirt does it all, or nobody is
    to do it by himself."""
    if pool.boot.mount != "boot" or pool.hosted_on:
        return ()
    if attached(pool):
        mount = path_unit(pool.target, "mount")
        if pool.protocol in FILE_PROTOCOLS:
            return (mount,)
        return (mount, attach_unit(pool)) + ((instance(CLUSTER, pool.cluster),) if pool.filesystem == "ocfs2" else ())
    return (attach_unit(pool),) if pool.protocol not in FILE_PROTOCOLS and pool.type in DEVICE_TYPES else ()


def step(pool: Pool, findings: Iterable[Finding], states: Sequence[Unit]) -> Optional[Step]:
    """What to do for a pool with these findings; states: of units(pool), in that order."""
    names = units(pool)
    codes = {finding.code for finding in findings}
    if not names or any(state.job or state.active in ("activating", "deactivating", "reloading") for state in states):
        return None
    whole, beneath = states[0], states[1:]
    login = 1 if attached(pool) else 0  # where the attach unit stands
    if whole.known and whole.active != "active":
        never = not whole.ran and any(one.active == "failed" for one in beneath)
        return Step(START, names[0]) if whole.active == "failed" or never else None
    if codes & {"path.missing", "path.none"} and login < len(states) and states[login].active == "active":
        return Step(RELOAD, names[login])
    return None


def fit(health: Optional[PoolHealth], pool: Optional[Pool]) -> bool:
    """Whether a VM on this pool may be tried: nothing that is known would keep it down."""
    if health is None or pool is None or pool.gate.mode != "enforce":
        return True
    return not any(refuses(finding, pool.gate) for finding in health.findings)


def sound(health: Optional[PoolHealth]) -> bool:
    """Whether a VM that an error has stopped would find its data: nothing that was found out is `failed`.

    None: a pool that nobody looks at by himself (an automount that may go idle); another error would stop the VM again."""
    return health is None or all(finding.health != FAILED for finding in health.findings)


def still_wanted(guest: Optional[Guest]) -> bool:
    """Whether a VM whose autostart was refused is to be started: it is defined, off, and autostarts."""
    return guest is not None and not guest.active and guest.autostart


def too_late(pools: Iterable[Optional[Pool]], age: float) -> bool:
    """Whether a VM that was refused `age` seconds ago is left to its administrator, who may have started it on another host.

    QEMU locks its images, which NFS, SMB and GFS2 tell other hosts of.  OCFS2's o2cb keeps such locks to the host, and so does a device."""
    unlocked = any(pool is not None and (pool.filesystem == "ocfs2" or pool.type in DEVICE_TYPES + LIBVIRT_TYPES and pool.type != "fs")
                   for pool in pools)  # fmt: skip
    return unlocked and age > UNLOCKED


def gives_up(error: str, others: int) -> bool:
    """Whether a VM is not tried again after this error of its start and so many others that were not the gate's."""
    if _REFUSED in error:
        return False
    return any(word in error.lower() for word in _LOCKED) or others + 1 >= ATTEMPTS


def by_the_gate(error: str) -> bool:
    """Whether it was our own gate that kept the VM down."""
    return _REFUSED in error
