"""Bringing libvirt's pools in line with the configuration, and telling how they compare."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from kvmontap.host import block, identity
from kvmontap.host.probe import Prober
from kvmontap.model import Config, Finding, Pool
from kvmontap.pools import xml
from kvmontap.pools.libvirtd import Libvirt, PoolError
from kvmontap.pools.plan import ABSENT, AUTOSTART, BUILD, DEFINE, ITSELF, SILENT, START, STOP, Plan, State, plan

LOOK_SECONDS = 5.0  # for one mount to answer

# Whether the storage of a pool is there: findings, () where all is well.
Look = Callable[[Pool], Tuple[Finding, ...]]


class Change(NamedTuple):
    """One thing that was done to a pool, or is to be told about it."""

    pool: str
    what: str  # define, build, autostart, start, stop, unchanged; differs, flag-differs, waiting, unsupported; error
    text: str  # no full stop
    fix: str = ""

    @property
    def wrong(self) -> bool:
        """Whether somebody has to do something about the pool itself (a mount that is away tells of itself)."""
        return self.what in ("differs", "error")

    def __str__(self) -> str:
        return f"pool {self.pool}: {self.text}" + (f"; {self.fix}" if self.fix else "")


class Row(NamedTuple):
    """One pool as `kvmontap pool list` shows it."""

    pool: str
    type: str
    target: str
    state: str  # active, inactive, undefined
    autostart: Optional[bool]  # None where libvirt has no such pool
    remark: str = ""  # what differs or is away; "" = as configured


def apply(config: Config, connection: Libvirt, look: Optional[Look] = None) -> Tuple[Change, ...]:
    """Define, autostart, start (or stop) every pool of `config`; a pool that fails takes none of the others with it."""
    changes: Tuple[Change, ...] = ()
    for name, todo in planned(config, connection, look).items():
        changes += _apply(todo, config.pools[name], connection)
    return changes


def planned(config: Config, connection: Libvirt, look: Optional[Look] = None) -> Dict[str, Plan]:
    """What apply() would do to each pool now, changing nothing."""
    findings = look_at_all(config, look)
    states = connection.pools()
    return {pool.name: plan(pool, states.get(pool.name), findings[pool.name]) for pool in config.pools.values()}


def _apply(todo: Plan, pool: Pool, connection: Libvirt) -> Tuple[Change, ...]:
    done: List[Change] = []
    for step in todo.steps:
        try:
            _take(step, pool, connection)
        except PoolError as error:
            done.append(Change(pool.name, "error", str(error), "look at: journalctl -u libvirtd"))
            break
        done.append(Change(pool.name, step, _DONE[step]))
    done += [Change(pool.name, *remark) for remark in todo.remarks]
    return tuple(done) or (Change(pool.name, "unchanged", "is as configured"),)


_DONE = {
    DEFINE: "is now defined in libvirt",
    BUILD: "has its directory",
    AUTOSTART: "is now started by libvirt at boot",
    START: "is started",
    STOP: "is stopped",
}


def _take(step: str, pool: Pool, connection: Libvirt) -> None:
    if step == DEFINE:
        connection.define(pool.name, xml.wanted(pool, identity.read().iqn))
    elif step == BUILD:
        connection.build(pool.name)
    elif step == AUTOSTART:
        connection.autostart(pool.name, True)
    elif step == START:
        connection.start(pool.name)
    elif step == STOP:
        connection.stop(pool.name)


def look_at_all(config: Config, look: Optional[Look] = None) -> Dict[str, Tuple[Finding, ...]]:
    """The findings of each pool, looked at side by side: a mount that hangs costs its own time only."""
    # Looking at an automount mounts it: that is for whoever uses the pool, not for us at boot.
    asked = [
        pool for pool in config.pools.values() if pool.type not in ITSELF and (pool.autostart or pool.boot.mount != "automount")
    ]
    found: Dict[str, Tuple[Finding, ...]] = {name: () for name in config.pools}
    if not asked:
        return found
    prober = Prober()
    try:
        with ThreadPoolExecutor(min(32, len(asked))) as threads:
            answers = threads.map(look or (lambda pool: mounted(pool, prober)), asked)
            found.update(zip((pool.name for pool in asked), answers))
    finally:
        prober.close()
    return found


def mounted(pool: Pool, prober: Prober) -> Tuple[Finding, ...]:
    """What is wrong with the storage of a pool, () where all is well; within some seconds, more where an automount mounts it first."""
    if pool.type == xml.FS:  # libvirt mounts it when it starts it: only the device is to be there
        return block.paths(pool)
    # Looking at an automount mounts it, which takes its time.
    seconds = max(LOOK_SECONDS, pool.boot.timeout if pool.boot.mount == "automount" else 0.0)
    return prober.check(pool, time.monotonic() + seconds)


def listing(config: Config, connection: Libvirt, look: Optional[Look] = None) -> Tuple[Row, ...]:
    """Every pool of `config` beside libvirt's, changing nothing."""
    findings = look_at_all(config, look)
    states: Dict[str, State] = connection.pools()
    rows = []
    for pool in config.pools.values():
        state = states.get(pool.name)
        seen = findings[pool.name]
        remarks = [remark.text for remark in plan(pool, state, seen).remarks]
        if not remarks:
            remarks = [one.text for one in seen if one.code in ABSENT + SILENT]
        rows.append(Row(
            pool.name, pool.type, pool.target,
            "undefined" if state is None else "active" if state.active else "inactive",
            None if state is None else state.autostart, "; ".join(remarks),
        ))  # fmt: skip
    return tuple(rows)
