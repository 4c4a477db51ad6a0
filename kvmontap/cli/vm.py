"""A VM of this host as the commands need it: what libvirt says of it, and the pools that it lies on."""

import time
from typing import NamedTuple, Tuple

from kvmontap.applied import read as applied
from kvmontap.array import Clients
from kvmontap.domain import DomainError, parse
from kvmontap.gate.assemble import doctor
from kvmontap.gate.configured import configured
from kvmontap.config import load
from kvmontap.host.match import Hit
from kvmontap.host.probe import Prober
from kvmontap.model import Domain, Finding
from kvmontap.pools.libvirtd import Libvirt, Machine, PoolError


class VmError(Exception):
    """Why the VM cannot be worked on, one sentence."""


class Vm(NamedTuple):
    """One VM, with the sources that its images name."""

    machine: Machine
    domain: Domain
    pools: Tuple[str, ...]  # names, in the order of the configuration
    hits: Tuple[Hit, ...] = ()  # what of it lies on which pool
    findings: Tuple[Tuple[str, Finding], ...] = ()  # (pool, what is wrong with it)


def find(name: str, uri: str, conf: str) -> Vm:
    """The VM of that name or UUID in libvirt; raises VmError."""
    try:
        with Libvirt(uri) as libvirt:
            machine = libvirt.machine(name)
        domain = parse(machine.xml.encode())
    except PoolError as error:
        raise VmError(str(error)) from None
    except DomainError as error:
        raise VmError(f"the domain XML of {name} cannot be read: {error}") from None
    return on_pools(machine, domain, conf)


def on_pools(machine: Machine, domain: Domain, conf: str) -> Vm:
    """The VM with what its images name, and the pools that all of it lies on, found by the gate's own questions."""
    loaded = load(conf)
    found = configured(loaded, applied() if loaded.broken else {}, {})
    clients, prober = Clients(), Prober()
    try:
        seen = doctor(prober, clients).examine(domain, found, time.monotonic(), lambda seconds: None)
    finally:
        prober.close()
        clients.close()
    touched = {hit.pool for hit in seen.hits}
    findings = tuple((name, one) for name, health in seen.healths.items() for one in health.findings)
    return Vm(machine, seen.domain, tuple(name for name in found.config.pools if name in touched), seen.hits, findings)
