"""`python3 -m kvmontap.attach start|reload|stop KIND NAME`: what the template units run; KIND is one of KINDS.

NAME is a pool's; with o2cb a cluster's, with hosted and hosted-guests a VM's.  `pool` is for pools of any protocol.  `stop lost all` is
kvmontap-shutdown.service.
Exits with 0, or with 1 and one sentence on stderr.
"""

import sys
import time
from typing import Dict, Sequence

from kvmontap import applied
from kvmontap.attach import device, fc, iscsi, lvm, nvme, o2cb
from kvmontap.attach.call import AttachError, say
from kvmontap.config import load, path_from_environment
from kvmontap.model import FC, ISCSI, Cluster, Config, Pool
from kvmontap.units import block

VMS = ("hosted", "hosted-guests")
KINDS = ("iscsi", "nvme", "fc", "o2cb", "pool", "lost") + VMS


def main(argv: Sequence[str]) -> int:
    if len(argv) != 4 or argv[1] not in ("start", "reload", "stop") or argv[2] not in KINDS:
        print(f"usage: python3 -m kvmontap.attach start|reload|stop {'|'.join(KINDS)} NAME", file=sys.stderr)
        return 2
    verb, kind, name = argv[1:]
    what = f"cluster {name}" if kind == "o2cb" else f"VM {name}" if kind in VMS else f"pool {name}"
    try:
        stop(kind, name) if verb == "stop" else start(kind, name)
        return 0
    except AttachError as error:
        text = str(error)
    except OSError as error:
        text = f"{error.filename or kind}: {error.strerror or error}"
    if verb == "start":
        _undo(kind, name)
    say(text if text.startswith(what) else f"{what}: {text}")
    return 1


def _undo(kind: str, name: str) -> None:
    """Take down what a start that failed has brought up: systemd runs no ExecStop after it."""
    try:
        stop(kind, name)
    except (AttachError, OSError) as error:
        say(f"{name}: {error}")


def start(kind: str, name: str) -> None:
    """Bring one pool's device, or one cluster, up."""
    if kind == "lost":
        return
    if kind == "o2cb":
        o2cb.start(cluster(name))
        return
    if kind in VMS:
        from kvmontap.attach import hosted  # reads domain XML, which nothing else here does

        pools = [one for one in known().values() if one.hosted_on == name]
        hosted.wait(name, pools) if kind == "hosted" else hosted.apply(name, pools)
        return
    found = pool(name)
    began = time.monotonic()
    # A little before systemd would end the mount's wait, so that the reason is in the journal.
    deadline = began + max(found.boot.timeout - 5, found.boot.timeout * 0.8)
    lvm.guard(known().values())
    if block.kind(found) == "nvme":
        nvme.start(found, deadline)
        path = device.wait(found, deadline, lambda: None, lambda: nvme.found(found))
    elif found.protocol == ISCSI:
        device.announce(found)
        iscsi.start(found, deadline)
        path = device.wait(found, deadline, lambda: iscsi.rescan(found), lambda: iscsi.found(found))
    else:
        device.announce(found)
        if found.protocol == FC:
            fc.start(found, deadline)
        path = device.wait(found, deadline, fc.rescan, fc.found)
    if found.type == "mpath":
        device.map_all(found, iscsi.disks(found) if found.protocol == ISCSI else fc.disks())
    device.judge(found, path)
    lvm.used(found, path)
    say(f"pool {name}: {path or 'what its portals show'} is there after {time.monotonic() - began:.1f} s")


def stop(kind: str, name: str) -> None:
    """Take down what we brought up; the configuration is not asked, for it may be another by now."""
    if kind == "o2cb":
        o2cb.stop(name)
    elif kind == "lost":
        from kvmontap.attach import lost

        lost.give_up(known().values())
    elif kind == "hosted-guests":
        from kvmontap.attach import hosted

        hosted.stop_guests(name, [one for one in known().values() if one.hosted_on == name])
    elif kind != "hosted":
        lvm.release(name)
        if kind in ("iscsi", "pool"):
            iscsi.stop(name)
        if kind in ("nvme", "pool"):
            nvme.stop(name)


def known() -> Dict[str, Pool]:
    """Every pool of this host: as configured, and as applied where its section is gone or broken by now."""
    return {**applied.read(), **load(path_from_environment()).config.pools}


def pool(name: str) -> Pool:
    """The pool as it is configured, or as it was applied where its section is broken now."""
    loaded = load(path_from_environment())
    found = loaded.config.pools.get(name) or (applied.read().get(name) if name in loaded.broken else None)
    if found is None:
        raise AttachError(f"{loaded.config.path} has no such sound section in [pools]; run: kvmontap check")
    return found


def cluster(name: str) -> Cluster:
    """The cluster as it is configured, or as it was applied."""
    config: Config = load(path_from_environment()).config
    found = config.clusters.get(name) or applied.clusters().get(name)
    if found is None:
        raise AttachError(f"{config.path} has no such sound section in [clusters]; run: kvmontap check")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
