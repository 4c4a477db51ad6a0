"""`kvmontap snapshot list|create|delete|prune`: the array's snapshots, seen and kept in order by hand."""

import argparse
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.array.stored import Stored, stored
from kvmontap.config import load
from kvmontap.host.probe import size_text
from kvmontap.model import Config, Domain, Finding, Pool
from kvmontap.snapshots import Request, Snapshotter, grouped, naming, retention
from kvmontap.snapshots.prune import Report, clock, prune, words
from kvmontap.snapshots.volumes import Target, Targets, targets

SECONDS = 600.0  # for one command; each request has its array's own timeout besides


class _Fault(Exception):
    """What ends the command: one sentence, and the exit code."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class _Row(NamedTuple):
    """One snapshot on one volume."""

    target: Target
    snapshot: Stored
    told: Optional[naming.Told]  # None where it is not ours


def run(arguments: argparse.Namespace) -> int:
    """1 where something was refused or could not be looked at."""
    loaded = load(arguments.config)
    if loaded.broken:
        print(f"left out, since their sections are wrong (run: kvmontap check): {', '.join(loaded.broken)}", file=sys.stderr)
    elif loaded.problems and not loaded.config.pools:
        print(f"kvmontap: {loaded.problems[0]}", file=sys.stderr)
        return 1
    if arguments.function == "prune" and any(problem.fatal for problem in loaded.problems):
        # A mistyped keep= counts as the default, and a pool that is left out may share a volume with one that is not.
        print(f"kvmontap: nothing is deleted while {arguments.config} has problems, since what it wants kept is not certain; "
              "run: kvmontap check", file=sys.stderr)
        return 1
    clients = Clients()
    try:
        functions: Dict[str, Callable[..., int]] = {"list": _list, "create": _create, "delete": _delete, "prune": _prune}
        if arguments.function == "restore":
            from kvmontap.cli import restore  # late: it needs the gate and libvirt's bindings

            return restore.run(arguments, loaded.config, clients)
        return functions[arguments.function](arguments, loaded.config, clients)
    except _Fault as fault:
        print(f"kvmontap: {fault}", file=sys.stderr)
        return fault.code
    finally:
        clients.close()


def _named(config: Config, names: Sequence[str]) -> Tuple[Pool, ...]:
    """The pools of those names; all that have an array where none is named."""
    if not names:
        return tuple(pool for pool in config.pools.values() if pool.ontap)
    for name in names:
        if name not in config.pools:
            raise _Fault(f"{config.path} has no pool {name}; there are: {', '.join(config.pools) or 'none'}", 2)
    return tuple(config.pools[name] for name in dict.fromkeys(names))


def _found(config: Config, names: Sequence[str], clients: Clients, deadline: float) -> Targets:
    found = targets(_named(config, names), config.arrays, clients, deadline)
    for pool, finding in found.findings.items():
        _complain(f"pool {pool}", finding)
    return found


def _complain(about: str, finding: Finding) -> None:
    fix = f"; what to do: {finding.fix}" if finding.fix else ""
    print(f"kvmontap: {about}: {finding.text}{fix} [{finding.code}]", file=sys.stderr)


def _rows(found: Targets, deadline: float, everything: bool = False) -> Tuple[List[_Row], bool]:
    """The snapshots of all volumes, and whether every volume could be read."""
    rows: List[_Row] = []
    whole = not found.findings
    for target in found.volumes:
        try:
            held = stored(target.client, target.ref, deadline)
        except ArrayError as error:
            _complain(f"volume {target.ref.name}", error.finding)
            whole = False
            continue
        told = [_Row(target, one, naming.told(one.name, one.comment)) for one in held]
        rows += [row for row in told if row.told is not None or everything]
    return rows, whole


# -- list


def _list(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    deadline = time.monotonic() + SECONDS
    rows, whole = _rows(_found(config, (), clients, deadline), deadline, arguments.all)
    if arguments.what:
        rows = [row for row in rows if any(_is(row, what) for what in arguments.what)]
        for what in arguments.what:
            if whole and not any(_is(row, what) for row in rows):
                print(f"kvmontap: no snapshot of a VM or pool {what}, nor one of that name", file=sys.stderr)
                whole = False
    if arguments.json:
        _dump([_plain(row) for row in rows])
    elif rows:
        _table(rows)
    elif whole:
        print("no snapshots")
    return int(not whole)


def _is(row: _Row, what: str) -> bool:
    """Whether `what` names the row's snapshot, VM or pool."""
    if what in (row.snapshot.name, row.snapshot.uuid) or any(pool.name == what for pool in row.target.pools):
        return True
    if row.told is None:
        return False
    return what in (row.told.vm, row.told.uuid) or (naming.is_cut(row.told.vm) and what.startswith(row.told.vm[:-1]))


def _plain(row: _Row) -> Dict[str, Any]:
    one, told = row.snapshot, row.told
    return {
        "snapshot": one.name,
        "uuid": one.uuid,
        "pools": [pool.name for pool in row.target.pools],
        "array": row.target.client.array.name,
        "svm": row.target.ref.svm,
        "volume": row.target.ref.name,
        "created": one.created,
        "reason": told.reason if told else None,
        "vm": (told.vm or None) if told else None,
        "vm_uuid": (told.uuid or None) if told else None,
        "host": told.host if told else None,
        "more_vms": told.more if told else None,
        "size": one.size,
        "label": one.label or None,
        "locked_until": _finite(retention.locked_until(one)),
        "locked": retention.locked_until(one) is not None,
        "owners": list(one.owners),
        "state": one.state or None,
        "ours": told is not None,
    }


def _finite(when: Optional[float]) -> Optional[float]:
    return None if when == float("inf") else when


def _table(rows: Sequence[_Row]) -> None:
    from kvmontap.cli.table import show  # late: --json needs no tables

    cells = []
    for row in rows:
        one, told = row.snapshot, row.told
        vm = (told.vm + (f" (+{told.more})" if told.more else "")) if told else ""
        remarks = [f"label {one.label}"] if one.label else []
        until = retention.locked_until(one)
        remarks += [f"locked until {clock(until)}"] if until is not None else []
        remarks += [f"needed by {', '.join(one.owners)}"] if one.owners else []
        remarks += [f"state {one.state}"] if one.state not in ("", "valid") else []
        size = size_text(one.size) if one.size is not None else ""
        pools = ", ".join(pool.name for pool in row.target.pools)
        when = clock(one.created) if one.created is not None else ""
        cells.append((one.name, pools, when, told.reason if told else "", vm, size, "; ".join(remarks)))
    show(("SNAPSHOT", "POOL", "WHEN", "WHY", "VM", "SIZE", "REMARK"), cells)


# -- create


def _create(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    if bool(arguments.vm) == bool(arguments.pool):
        raise _Fault("say which VM, or which pools with --pool", 2)
    domain, names = Domain("", "", ()), arguments.pool
    if arguments.vm:
        from kvmontap.cli import vm  # late: the gate and libvirt's bindings are wanted only here

        try:
            found_vm = vm.find(arguments.vm, arguments.connect, arguments.config)
        except vm.VmError as error:
            raise _Fault(str(error)) from None
        domain, names = found_vm.domain, found_vm.pools
        if not names:
            raise _Fault(f"VM {domain.name} has nothing on a pool of {config.path}")
    found = _found(config, names, clients, time.monotonic() + SECONDS)
    requests = []
    for target in found.volumes:
        pool = target.pools[0]
        settings = pool.snapshots._replace(
            label=arguments.label if arguments.label is not None else pool.snapshots.label,
            lock_days=arguments.lock_days if arguments.lock_days is not None else pool.snapshots.lock_days,
        )
        if settings.lock_days and not target.ref.locking:
            print(f"kvmontap: volume {target.ref.name} does not allow locked snapshots: this one is not locked", file=sys.stderr)
        requests.append(Request(target.client, target.ref, pool._replace(snapshots=settings), domain, naming.MANUAL, os.uname().nodename))
    timeout = max((max(request.pool.snapshots.timeout, request.client.array.timeout) for request in requests), default=0.0)
    outcomes = Snapshotter().take(requests, time.monotonic() + timeout)
    for outcome in outcomes:
        if outcome.finding is not None:
            _complain(f"pool {outcome.pool}", outcome.finding)
        elif not arguments.json:
            print(f"volume {outcome.volume}: {outcome.name}")
    if arguments.json:
        _dump([{"pool": one.pool, "volume": one.volume, "snapshot": one.name or None} for one in outcomes])
    return int(bool(found.findings) or any(one.finding is not None for one in outcomes))


# -- delete


def _delete(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    deadline = time.monotonic() + SECONDS
    rows, whole = _rows(_found(config, arguments.pool, clients, deadline), deadline, True)
    doomed: List[_Row] = []
    for name in dict.fromkeys(arguments.snapshot):
        same = [row for row in rows if row.snapshot.name == name]
        if not same:
            print(f"kvmontap: no volume holds a snapshot {name}", file=sys.stderr)
        for row in same:
            if row.told is None:
                print(f"kvmontap: {name} on volume {row.target.ref.name} is not one of kvmontap's: delete it with ONTAP's own tools",
                      file=sys.stderr)
        whole = whole and bool(same) and all(row.told is not None for row in same)
        doomed += [row for row in same if row.told is not None]
    if doomed and not arguments.yes:
        _ask([f"{row.snapshot.name} on volume {row.target.ref.name}" for row in doomed])
    done = []
    for row in doomed:
        try:
            grouped.remove(row.target.client, row.target.ref, row.snapshot, row.told, deadline)
            done.append(row)
            if not arguments.json:
                print(f"deleted {row.snapshot.name} on volume {row.target.ref.name}")
        except ArrayError as error:
            whole = False
            print(f"kvmontap: {row.snapshot.name} on volume {row.target.ref.name} stays: {words(error)}", file=sys.stderr)
    if arguments.json:
        _dump([{"volume": row.target.ref.name, "snapshot": row.snapshot.name} for row in done])
    return int(not whole)


def _ask(things: Sequence[str]) -> None:
    """Goes on only where somebody says yes."""
    if not sys.stdin.isatty():
        raise _Fault("nobody can be asked here; say --yes if these are to be deleted: " + ", ".join(things), 2)
    print("To be deleted for good:\n  " + "\n  ".join(things), file=sys.stderr)
    print("Delete? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise _Fault("nothing was deleted")


# -- prune


def _prune(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    deadline = time.monotonic() + SECONDS
    # All pools, also where some are named: one of the others may keep more on the same volume.
    _named(config, arguments.pool)
    found = targets(_named(config, ()), config.arrays, clients, deadline)
    wanted = [target for target in found.volumes if not arguments.pool or {pool.name for pool in target.pools} & set(arguments.pool)]
    missing = {name: one for name, one in found.findings.items() if not arguments.pool or name in arguments.pool}
    for name, finding in missing.items():
        _complain(f"pool {name}", finding)
    reports = []
    for target in wanted:
        unseen = [config.pools[name].snapshots for name in found.findings if config.pools[name].ontap == target.client.array.name]
        settings = retention.policy([pool.snapshots for pool in target.pools] + unseen)
        tell = _progress(target.ref.name)
        of_groups = grouped.policy(settings, config.pools.values(), target.client.array.name)
        report = prune(target.client, target.ref, settings, deadline, dry_run=arguments.dry_run, groups=of_groups, tell=tell)
        reports.append((target, report))
        _clear()
    if arguments.json:
        _dump([_report(target, report) for target, report in reports])
    else:
        for _, report in reports:
            _show(report, arguments.dry_run)
    for target, report in reports:
        if report.finding is not None:
            _complain(f"volume {target.ref.name}", report.finding)
    return int(bool(missing) or any(report.finding is not None for _, report in reports))


def _report(target: Target, report: Report) -> Dict[str, Any]:
    return {
        "array": report.array,
        "svm": report.svm,
        "volume": report.volume,
        "pools": [pool.name for pool in target.pools],
        "deleted": list(report.deleted),
        "left": [{"snapshot": left.name, "uuid": left.uuid, "why": left.why, "text": left.text} for left in report.left],
        "kept": report.kept,
        "foreign": report.foreign,
        "finding": report.finding._asdict() if report.finding is not None else None,
    }


def _show(report: Report, dry_run: bool) -> None:
    verb = "would delete" if dry_run else "deleted"
    print(f"volume {report.volume}: {verb} {len(report.deleted)}, left {len(report.left)} that are due, kept {report.kept}, "
          f"{report.foreign} of others untouched")
    for name in report.deleted:
        print(f"  {verb} {name}")
    for left in report.left:
        print(f"  left {left.name}: {left.text}")


def _progress(volume: str) -> Callable[[int, int], None]:
    def tell(done: int, count: int) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[Kvolume {volume}: deleting {done + 1} of {count}", end="", file=sys.stderr, flush=True)

    return tell


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _dump(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
