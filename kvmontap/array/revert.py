"""A whole volume back to a snapshot.  Imports no client library: it talks through kvmontap.array.client."""

from kvmontap.array.client import Client
from kvmontap.array.jobs import follow
from kvmontap.array.state import VolumeRef

# What to do about ONTAP's refusals.
FIXES = {
    "1638480": "SnapMirror or SnapVault needs a newer snapshot: wait for the next update, or end the relationship first",
    "9437886": "newer snapshots are locked until their time is over; restore single VMs instead, which touches no snapshot",
    "524511": "a newer snapshot is in use: look for clones of the volume, and at: event log show",
    "6619715": "SnapMirror is at work on the volume: try again in a few minutes",
    "9437885": "bring the volume online",
    "262325": "have the request approved: security multi-admin-verify request show-pending",
    "6": "volume revert needs a role that may change volumes (kvmontap role --all)",
}
_WAIT = 15  # seconds that the array may take before it hands out a job


def revert(client: Client, volume: VolumeRef, snapshot: str, deadline: float) -> None:
    """The volume holds what it held in the snapshot, and every newer snapshot is gone; raises ArrayError.

    Sent once: where `maybe_done` is set, it may have happened, or be under way.
    """
    query = {"restore_to.snapshot.name": snapshot}
    job = client.change("Volume", volume.uuid, query, min(_WAIT, max(0, int(client.array.timeout / 2))), deadline)
    if job:
        follow(client, job, client.where("volumes", "revert"), deadline)
