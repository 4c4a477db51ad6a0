"""Pools whose array runs in a VM on this host: waiting for that VM, and stopping the VMs on its storage before it.

virsh is asked in processes of its own: libvirt answers nobody while it autostarts its VMs, and a call to it cannot be interrupted.
"""

import time
from typing import Dict, List, Sequence, Tuple

from kvmontap.answering import PORTS
from kvmontap.attach.call import AttachError, call, say
from kvmontap.attach.portals import answering
from kvmontap.config import load, path_from_environment
from kvmontap.domain import DomainError, parse, pooldefs
from kvmontap.host.behind import Behind
from kvmontap.host.match import match
from kvmontap.model import Pool

VIRSH = "/usr/bin/virsh"
SECONDS = 30.0  # for one question
PATIENCE = 600.0  # an array takes minutes to boot; a longer [boot] timeout of a pool counts
LEAVE = 300.0  # seconds for guests to shut down, as libvirt-guests gives them
AGAIN = 1.0


def wait(name: str, pools: Sequence[Pool]) -> None:
    """Return once the VM runs and an address of its array answers; AttachError where that takes too long."""
    began = time.monotonic()
    deadline = began + max([PATIENCE, *(pool.boot.timeout for pool in pools)])
    while True:
        done = call((VIRSH, "-q", "domstate", name), SECONDS)
        if done.out.strip() == "running":
            break
        if done.code == 127:
            raise AttachError("virsh is not installed; install libvirt-clients")
        if "failed to get domain" in done.err:
            raise AttachError(f"libvirt has no such VM; correct hosted-on = of {', '.join(pool.name for pool in pools)}")
        if time.monotonic() >= deadline:
            raise AttachError(f"it does not run ({done.out.strip() or done.why}); start it, then the mounts of "
                              f"{', '.join(pool.name for pool in pools)}")
        time.sleep(AGAIN)
    for pool in pools:
        addresses, ports = pool.server or pool.portals, PORTS.get(pool.protocol)
        if addresses and ports:
            answering(addresses, ports, deadline)
    say(f"VM {name}: runs and its array answers after {time.monotonic() - began:.0f} s")


def apply(name: str, pools: Sequence[Pool]) -> None:
    """Start its pools in libvirt: when kvmontap-pools.service looked, their storage was not there yet."""
    from kvmontap.pools.apply import apply as apply_pools  # late: the other kinds need none of it
    from kvmontap.pools.libvirtd import Libvirt, PoolError

    config = load(path_from_environment()).config
    wanted = {pool.name: config.pools[pool.name] for pool in pools if pool.name in config.pools}
    try:
        with Libvirt() as connection:
            for change in apply_pools(config._replace(pools=wanted), connection):
                say(str(change))
    except PoolError as error:
        say(f"VM {name}: {error}")


def stop_guests(name: str, pools: Sequence[Pool]) -> None:
    """Shut down every other VM that has something on these pools; what has not gone after LEAVE is ended by force."""
    left = on(name, pools)
    if left:
        say(f"VM {name}: {', '.join(left)} on its storage are shut down before it")
    for guest in left:
        call((VIRSH, "-q", "shutdown", guest), SECONDS)
    deadline = time.monotonic() + LEAVE
    while left and time.monotonic() < deadline:
        running = _running()
        left = [guest for guest in left if guest in running]
        time.sleep(AGAIN if left else 0)
    for guest in left:
        say(f"VM {guest}: has not shut down within {LEAVE:.0f} s and is ended by force")
        call((VIRSH, "-q", "destroy", guest), SECONDS)


def on(name: str, pools: Sequence[Pool]) -> List[str]:
    """The running VMs, without `name` itself, that have storage on these pools."""
    config = load(path_from_environment()).config._replace(pools={pool.name: pool for pool in pools})
    known = pooldefs.read()
    found = []
    for guest in _running():
        if guest == name:
            continue
        text = call((VIRSH, "-q", "dumpxml", guest), SECONDS)
        try:
            domain = parse(text.out.encode("utf-8", "surrogateescape"))
        except DomainError:
            continue
        if match(domain, config, known, behind=Behind(config).pools):
            found.append(guest)
    return found


def _running() -> Dict[str, Tuple[()]]:
    """The names of the VMs that run, in libvirt's order."""
    done = call((VIRSH, "-q", "list", "--name"), SECONDS)
    return {line.strip(): () for line in done.out.splitlines() if line.strip()}
