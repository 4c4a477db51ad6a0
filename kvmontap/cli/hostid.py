"""`kvmontap host-id`: the names by which an array knows this host."""

import argparse
import json
import os
import sys

from kvmontap.config import load
from kvmontap.config.onhost import under
from kvmontap.host import identity


def run(arguments: argparse.Namespace) -> int:
    """1 where a pool of the file needs an identity that this host does not have."""
    found = identity.read(arguments.root)
    path = under(arguments.root, arguments.config)
    # Without a file nothing is needed yet: an administrator asks for the names before writing it.
    pools = load(path).config.pools.values() if os.path.exists(path) else ()
    needed = identity.wanted(tuple(pool.protocol for pool in pools))
    missing = {kind: why for kind, why in found.missing if kind in needed}
    if arguments.json:
        json.dump({
            "iqn": found.iqn or None,
            "ports": [port._asdict() for port in found.ports],
            "nqn": found.nqn or None,
            "hostid": found.hostid or None,
            "missing": missing,
        }, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return int(bool(missing))
    if found.iqn:
        print(f"iSCSI  {found.iqn}")
    for port in found.ports:
        print(f"FC     {port.wwpn}  {port.host} {port.state}".rstrip())
    if found.nqn:
        print(f"NVMe   {found.nqn}")
    for kind, why in found.missing:
        if kind in missing:
            print(f"kvmontap: a pool of {arguments.config} needs it: {why}", file=sys.stderr)
    if not (found.iqn or found.ports or found.nqn or missing):
        print("this host has no iSCSI initiator name, no FC port and no NVMe host NQN")
    return int(bool(missing))
