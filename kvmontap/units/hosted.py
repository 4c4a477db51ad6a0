"""Pools whose array runs in a VM on this very host (hosted-on): everything about them is the other way round.  Pure.  On the boot path.

Start: libvirt, that VM (kvmontap-hosted@VM), login, mount, pool (kvmontap-hosted-guests@VM).  Stop, in the reverse order:
kvmontap-hosted-guests@VM stops the VMs that live on those pools, unmount, logout, and only then libvirt-guests.service stops that VM
with all that are left.
"""

from typing import Dict, List, Tuple

from kvmontap.model import FILE_PROTOCOLS, Pool
from kvmontap.units import block
from kvmontap.units.escape import instance, specifiers

VM = "kvmontap-hosted@.service"
GUESTS = "kvmontap-hosted-guests@.service"
WANTED_BY = "multi-user.target.wants"  # remote-fs.target is reached before libvirt starts


def vm_unit(pool: Pool) -> str:
    """The unit that is active once the pool's array can answer."""
    return instance(VM, pool.hosted_on)


def order(pool: Pool) -> List[str]:
    """What a unit of the pool says of its order; its default dependencies would put it before remote-fs.target, and so before libvirt."""
    return [
        "DefaultDependencies=no",
        "Conflicts=umount.target",
        f"Before=umount.target {instance(GUESTS, pool.hosted_on)}",
    ]


def units(pool: Pool, wanted: str, header: str, source_path: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    """({path: text}, {link: target}) beside the pool's own units; `wanted` is the unit that is to be started, "" for none."""
    files = {}
    if pool.protocol not in FILE_PROTOCOLS:
        needs = vm_unit(pool)
        lines = [header, "", "[Unit]", f"SourcePath={specifiers(source_path)}", f"Requires={needs}", f"After={needs}",
                 f"Before={instance(GUESTS, pool.hosted_on)}", ""]
        files[f"{block.attach_unit(pool)}.d/50-kvmontap.conf"] = "\n".join(lines)
    links = {f"{WANTED_BY}/{instance(GUESTS, pool.hosted_on)}": f"/usr/lib/systemd/system/{GUESTS}"}
    if wanted:
        # The path of a static template; a link to a unit of our own is relative.
        static = block.attach_unit(pool) == wanted
        links[f"{WANTED_BY}/{wanted}"] = f"/usr/lib/systemd/system/{block.HOSTED}" if static else f"../{wanted}"
    return files, links
