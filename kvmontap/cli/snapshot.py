"""`kvmontap snapshot list|create|delete|prune`: the array's snapshots, seen and kept in order by hand."""

import argparse
import os
import sys
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

from kvmontap.array import ArrayError, Clients
from kvmontap.cli import held
from kvmontap.config import load
from kvmontap.model import Config, Domain
from kvmontap.snapshots import Outcome, Request, Snapshotter, grouped, naming, retention
from kvmontap.snapshots.mirror import after_snapshot
from kvmontap.snapshots.prune import Report, prune, words
from kvmontap.snapshots.volumes import Target, targets


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
        functions: Dict[str, Callable[..., int]] = {"create": _create, "delete": _delete, "prune": _prune}
        if arguments.function == "list":
            from kvmontap.cli import listing  # late: only it asks libvirt and SnapMirror

            return listing.run(arguments, loaded.config, clients)
        if arguments.function == "restore":
            from kvmontap.cli import restore  # late: it needs the gate and libvirt's bindings

            return restore.run(arguments, loaded.config, clients)
        if arguments.function == "revert":
            from kvmontap.cli import revert

            return revert.run(arguments, loaded.config, clients)
        return functions[arguments.function](arguments, loaded.config, clients)
    except held.Fault as fault:
        print(f"kvmontap: {fault}", file=sys.stderr)
        return fault.code
    finally:
        clients.close()


# -- create


def _create(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    if bool(arguments.vm) == bool(arguments.pool):
        raise held.Fault("say which VM, or which pools with --pool", 2)
    if arguments.quiesce and not arguments.vm:
        raise held.Fault("--quiesce freezes one VM: say which", 2)
    domain, names, found_vm = Domain("", "", ()), arguments.pool, None
    if arguments.vm:
        from kvmontap.cli import vm  # late: the gate and libvirt's bindings are wanted only here

        try:
            found_vm = vm.find(arguments.vm, arguments.connect, arguments.config)
        except vm.VmError as error:
            raise held.Fault(str(error)) from None
        domain, names = found_vm.domain, found_vm.pools
        if not names:
            raise held.Fault(f"VM {domain.name} has nothing on a pool of {config.path}")
    found = held.found(config, names, clients, time.monotonic() + held.SECONDS)
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
    outcomes = _taken(arguments, found_vm, requests, timeout)
    for outcome in outcomes:
        if outcome.finding is not None:
            held.complain(f"pool {outcome.pool}", outcome.finding)
        elif not arguments.json:
            print(f"volume {outcome.volume}: {outcome.name}")
        if outcome.remark is not None:
            held.complain(f"pool {outcome.pool}", outcome.remark)
    whole = _mirrored(requests, outcomes, config, clients, arguments.json)
    if arguments.json:
        held.dump([{"pool": one.pool, "volume": one.volume, "snapshot": one.name or None} for one in outcomes])
    return int(not whole or bool(found.findings) or any(one.finding is not None for one in outcomes))


def _taken(arguments: argparse.Namespace, found_vm: Any, requests: Sequence[Request], timeout: float) -> Tuple[Outcome, ...]:
    """The snapshots, with the VM frozen meanwhile where that was asked for."""
    if not arguments.quiesce or not requests:
        return Snapshotter().take(requests, time.monotonic() + timeout)
    from kvmontap.cli import quiesce  # late: it needs libvirt's bindings

    try:
        return quiesce.take(found_vm, arguments.connect, lambda deadline: Snapshotter().take(requests, deadline))
    except (quiesce.WorkError, quiesce.PoolError) as error:
        raise held.Fault(f"no quiesced snapshot of VM {arguments.vm}: {error}") from None


def _mirrored(requests: Sequence[Request], outcomes: Sequence[Outcome], config: Config, clients: Clients, quiet: bool) -> bool:
    """Has SnapMirror take the snapshots on where the file says so; whether nothing was in its way."""
    every = [clients.get(array) for array in config.arrays.values()]
    whole = True
    for request, outcome in zip(requests, outcomes):
        if not outcome.name or not request.pool.snapshots.snapmirror_update:
            continue
        updated = after_snapshot(every, request.volume, time.monotonic() + held.SECONDS)
        for destination in updated.begun if not quiet else ():
            print(f"volume {updated.volume}: SnapMirror takes it to {destination}")
        if updated.finding is not None:
            held.complain(f"pool {outcome.pool}", updated.finding)
            whole = False
    return whole


# -- delete


def _delete(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    deadline = time.monotonic() + held.SECONDS
    rows, whole = held.rows(held.found(config, arguments.pool, clients, deadline), deadline, True)
    doomed: List[held.Row] = []
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
        held.dump([{"volume": row.target.ref.name, "snapshot": row.snapshot.name} for row in done])
    return int(not whole)


def _ask(things: Sequence[str]) -> None:
    """Goes on only where somebody says yes."""
    if not sys.stdin.isatty():
        raise held.Fault("nobody can be asked here; say --yes if these are to be deleted: " + ", ".join(things), 2)
    print("To be deleted for good:\n  " + "\n  ".join(things), file=sys.stderr)
    print("Delete? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise held.Fault("nothing was deleted")


# -- prune


def _prune(arguments: argparse.Namespace, config: Config, clients: Clients) -> int:
    deadline = time.monotonic() + held.SECONDS
    # All pools, also where some are named: one of the others may keep more on the same volume.
    held.named(config, arguments.pool)
    found = targets(held.named(config, ()), config.arrays, clients, deadline)
    wanted = [target for target in found.volumes if not arguments.pool or {pool.name for pool in target.pools} & set(arguments.pool)]
    missing = {name: one for name, one in found.findings.items() if not arguments.pool or name in arguments.pool}
    for name, finding in missing.items():
        held.complain(f"pool {name}", finding)
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
        held.dump([_report(target, report) for target, report in reports])
    else:
        for _, report in reports:
            _show(report, arguments.dry_run)
    for target, report in reports:
        if report.finding is not None:
            held.complain(f"volume {target.ref.name}", report.finding)
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
