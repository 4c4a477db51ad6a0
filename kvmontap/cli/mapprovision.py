"""The array's side of `kvmontap provision` for a block pool whose device is not here: its LUN or namespace shown to the pool's hosts."""

import argparse
import sys
import time

from kvmontap.array import ArrayError, Clients
from kvmontap.host import identity
from kvmontap.model import Config, Pool
from kvmontap.provision import mapping

_PATIENCE = 120.0  # seconds for everything that the array is asked


def provision(pool: Pool, config: Config, arguments: argparse.Namespace) -> bool:
    """Whether the LUN or namespace is shown to this host now; what stands in the way, or is to be done, is told."""
    array = config.arrays.get(pool.ontap)
    if array is None or not array.svm:
        return True  # nobody to ask: the device itself tells
    hosts = (*identity.names(identity.read(), pool.protocol), *arguments.client)
    clients = Clients()
    client, deadline = clients.get(array), time.monotonic() + _PATIENCE
    try:
        wanted = mapping.plan(client, pool, hosts, deadline)
        if wanted is None:
            return True
        print(f"{pool.name}: to be made on the array: {wanted.what}\n    {wanted.command}", file=sys.stderr if arguments.json
              else sys.stdout)
        if not arguments.do or not _agreed(pool, arguments.yes):
            return False
        mapping.show(client, pool, wanted, deadline)
        print(f"done: {wanted.what}", file=sys.stderr if arguments.json else sys.stdout)
        return True
    except ValueError as error:
        print(f"{pool.name}: {error}", file=sys.stderr)
    except ArrayError as error:
        print(f"{pool.name}: {error.finding.text}; {error.finding.fix}", file=sys.stderr)
    finally:
        clients.close()
    return False


def _agreed(pool: Pool, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        print("kvmontap: nobody can be asked here; say --yes if that is to be made", file=sys.stderr)
        return False
    print(f"Type the name of the pool ({pool.name}): ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == pool.name
