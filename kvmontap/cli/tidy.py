"""`kvmontap tidy`: what interrupted restores, clones, reverts and freezes of this host have left is taken away or finished."""

import argparse
import sys
from typing import List

from kvmontap.array import ArrayError, Clients
from kvmontap.array.client import Client
from kvmontap.config import load
from kvmontap.host.cloned import DeviceError
from kvmontap.model import Config
from kvmontap.pools.libvirtd import URI, Libvirt, PoolError
from kvmontap.snapshots import mounting, opened, restoring
from kvmontap.snapshots.prune import words
from kvmontap.snapshots.work import Busy, Work, WorkError, names


def run(arguments: argparse.Namespace) -> int:
    """1 where something is left."""
    config = load(arguments.config).config
    clients = Clients()
    try:
        left = tidy(config, clients, arguments.connect)
    finally:
        clients.close()
    if not left and not names():
        print("nothing is left over")
    return int(bool(left))


def quietly(config: Config, clients: Clients, uri: str) -> None:
    """For other commands: tells what is left, and goes on."""
    if names():
        tidy(config, clients, uri)


def tidy(config: Config, clients: Clients, uri: str = URI) -> List[str]:
    """Ends every piece of work that nobody is at; what could not be ended, a sentence each, which is also told."""
    left = []
    for name in names():
        try:
            with Work(name) as work:
                value = work.read()
                for line in _end(work, value, config, clients, uri) if value is not None else ():
                    print(f"kvmontap: {line}", file=sys.stderr)
        except Busy:
            continue
        except (WorkError, DeviceError, PoolError) as error:
            left.append(f"{name}: {error}")
        except ArrayError as error:
            left.append(f"{name}: {words(error)}")
        except OSError as error:
            left.append(f"{name}: {error.filename or work.path}: {error.strerror}")
        except (KeyError, TypeError, ValueError) as error:
            left.append(f"{name}: {work.path} is not what kvmontap writes ({error!r}); look at it, and remove it by hand")
    for line in left:
        print(f"kvmontap: interrupted work is not ended yet: {line}", file=sys.stderr)
    return left


def _end(work: Work, value: dict, config: Config, clients: Clients, uri: str) -> List[str]:
    def client_of(name: str) -> Client:
        if name not in config.arrays:
            raise WorkError(f"the configuration has no array {name} any more; put its section back until this is done")
        return clients.get(config.arrays[name])

    from kvmontap.cli import quiesce, revert  # late: they need the gate, and revert imports this module

    kind = value.get("kind", restoring.KIND)
    if kind == opened.KIND:
        return list(opened.close(work, client_of))
    if kind == restoring.KIND:
        with Libvirt(uri) as libvirt:
            return list(restoring.finish(work, lambda name: libvirt.known(name) is not None))
    if kind == quiesce.KIND:
        return quiesce.thawed(work)
    if kind == mounting.KIND:
        with Libvirt(uri) as libvirt:
            failed = revert.again(work, libvirt)
        if failed:
            raise WorkError("; ".join(failed))
        return [f"mounted again what an interrupted revert had stopped: {', '.join(value['targets'])}"]
    raise WorkError(f"{work.path} tells of {kind}, which this version does not know")
