"""What is mounted for an SMB pool: source, type and options as mount.cifs(8) knows them.  Pure.  On the boot path."""

from typing import List, Optional

from kvmontap.model import Pool
from kvmontap.units.mounted import Mounted, Owner, defaults


def mounted(pool: Pool, owner: Optional[Owner] = None) -> Mounted:
    """Source, type and options of an SMB pool; `owner` is the account that qemu runs under, None where it is not known."""
    options = [f"credentials={pool.credentials}"]
    if pool.max_channels > 1:
        options += ["multichannel", f"max_channels={pool.max_channels}"]
    options += defaults(
        pool.options,
        ("vers=3",),  # 3.0 or newer: what an older one lacks, a VM's disk needs
        ("hard", "soft"),  # cifs is soft by default: an error after a minute, which a guest takes for a broken disk
        # qemu guards its images with shared locks on bytes 100 to 203.  SMB locks are mandatory: as soon as another host opens the image
        # (a migration, qemu-img info), the holder's own writes there fail with EACCES (tried: Linux 6.12, Samba 4.22).  So the locks
        # stay on this host, and nothing but the gate and libvirt keeps two hosts from starting one VM.
        ("nobrl", "brl"),
    )
    options += _owner(pool, owner)
    options += [pool.options] if pool.options else []
    # The kernel takes an IPv6 address here without brackets, and mount.cifs resolves it so.
    return Mounted(f"//{pool.server[0]}/{pool.share}", "cifs", ",".join(options + ["_netdev"]))


def _owner(pool: Pool, owner: Optional[Owner]) -> List[str]:
    """SMB tells no owner that means something here: without these options every file is root's, and qemu cannot write."""
    told = ("uid", "gid", "cruid", "noperm", "cifsacl", "idsfromsid", "modefromsid", "posix", "multiuser", "forceuid")
    if owner is None or not defaults(pool.options, told):
        return []
    return [f"uid={owner.uid}", f"gid={owner.gid}"] + defaults(pool.options, ("file_mode=0660",), ("dir_mode=0770",))
