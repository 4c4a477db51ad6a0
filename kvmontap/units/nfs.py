"""What is mounted for an NFS pool: source, file system type and options, as nfs(5) and our own mount helper know them.

Pure.  On the boot path.

One address is mounted by the system's own mount.nfs (`Type=nfs`).  `Type=kvmontap-nfs` (kvmontap.nfsmount) is used where
mount.nfs alone is not enough: several addresses, of which the first that answers is taken; session trunking, where a transport to each
address must be asked for; and RPC over TLS, where the first try comes too early while tlshd starts.

There is no option for pNFS: an NFS 4.1 client takes layouts from every server that gives them, so `pnfs` decides nothing here.
"""

from typing import List, Tuple

from kvmontap.model import Pool
from kvmontap.units.mounted import Mounted, defaults

RDMA_PORT = 20049  # RFC 5667: NFS/RDMA has a port of its own
MAX_CONNECT = 16  # transports of one session at most: the kernel's own bound


def mounted(pool: Pool) -> Mounted:
    """Source, type and options of an NFS pool."""
    helper = len(pool.server) > 1 or pool.trunking or pool.tls != "no"
    own = _helper_options(pool) if helper else []
    options = own + _options(pool) + defaults(pool.options, ("hard", "soft", "softerr", "softreval"))
    options += [pool.options] if pool.options else []
    return Mounted(
        what=f"{','.join(bracketed(host) for host in pool.server)}:{_ending(pool.export)}",
        type="kvmontap-nfs" if helper else "nfs",
        options=",".join(options + ["_netdev"]),
        services=_services(pool),
    )


def bracketed(host: str) -> str:
    """A host as it stands before ":/export": IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _ending(export: str) -> str:
    # A value that ends in a blank or a backslash cannot be written; with a slash behind it, it can, and means the same.
    return export + "/" if export != export.rstrip() or export.endswith("\\") else export


def _options(pool: Pool) -> List[str]:
    options = [f"vers={pool.version}"]
    if pool.transport == "rdma":
        every_ipv6 = all(":" in host for host in pool.server)
        options.append("proto=rdma6" if every_ipv6 else "proto=rdma")
        options += defaults(pool.options, (f"port={RDMA_PORT}",))
    if pool.nconnect > 1:
        options.append(f"nconnect={pool.nconnect}")
    if pool.trunking:
        options += ["trunkdiscovery", f"max_connect={MAX_CONNECT}"]
    options.append(f"sec={pool.security}")
    if pool.tls != "no":
        options.append(f"xprtsec={pool.tls}")
    return options


def _helper_options(pool: Pool) -> List[str]:
    # The helper gives up a little before systemd would end it, so that its reason is in the journal and not "timed out".
    wait = max(pool.boot.timeout - 5, pool.boot.timeout * 0.8)
    return [f"kvmontap-wait={wait:.0f}"] + (["kvmontap-trunking"] if pool.trunking else [])


def _services(pool: Pool) -> Tuple[str, ...]:
    services = []
    if pool.security != "sys":
        services.append("rpc-gssd.service")
    if pool.tls != "no":
        services.append("tlshd.service")
    return tuple(services)
