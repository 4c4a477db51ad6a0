"""Every reason code: what it means for a pool's health, how it is said, and what to do about it.

The codes are stable: the man page, the journal catalog and `--json` use them.  Imports only the records.
Texts are filled with str.format(); a probe names the fields that its code needs.
"""

from typing import Dict, NamedTuple, Optional

from kvmontap.model import DEGRADED, FAILED, HEALTHS, OK, UNKNOWN, Finding, PoolHealth


class Reason(NamedTuple):
    health: str
    text: str
    fix: str


REASONS: Dict[str, Reason] = {
    # The mount, seen from the host.
    "mount.missing": Reason(FAILED, "{target} is not mounted", "systemctl start {unit}"),
    "mount.wrong-source": Reason(
        FAILED,
        "{target} is mounted from {found} instead of {wanted}",
        "unmount it and run: systemctl start {unit}",
    ),
    "mount.wrong-type": Reason(
        FAILED,
        "{target} holds a {found} file system instead of {wanted}",
        "unmount it and run: systemctl start {unit}",
    ),
    "mount.unverified": Reason(
        UNKNOWN,
        "{target} is mounted from {found}, and the resolver does not tell whether that is {wanted}",
        "mend the name service, or write addresses into server=",
    ),
    "mount.read-only": Reason(
        FAILED, "{target} is mounted read-only", "mount -o remount,rw {target}, after reading why in the kernel log"
    ),
    "mount.shut-down": Reason(
        FAILED,
        "the kernel has given up the file system on {target} ({how})",
        "read why in the kernel log, unmount it, check it, and run: systemctl start {unit}",
    ),
    "mount.no-answer": Reason(
        FAILED,
        "{target} does not answer (asked for {seconds:.1f} s)",
        "check the network and the array's LIFs",
    ),
    "mount.stale": Reason(
        FAILED, "{target} has a stale file handle", "unmount it and run: systemctl start {unit}"
    ),
    "mount.error": Reason(FAILED, "{target} answers with an error: {error}", "check the network, the array and its export policy"),
    "space.full": Reason(
        FAILED,
        "only {free} of {size} are free on {target}, min-free asks for {wanted}",
        "free space or grow the volume",
    ),
    "space.low": Reason(
        DEGRADED, "only {free} of {size} are free on {target}", "free space or grow the volume before it is full"
    ),
    "inodes.full": Reason(FAILED, "no inode is free on {target}", "delete files or raise the volume's file limit"),
    "transport.missing": Reason(
        DEGRADED, "no NFS transport to {missing} ({have} of {wanted} addresses in use)", "check that LIF and its network"
    ),
    "transport.few": Reason(
        DEGRADED,
        "{have} of {wanted} connections to {address} (the first mount of a server decides for all)",
        "unmount everything from that server and mount it again",
    ),
    "transport.stuck": Reason(
        DEGRADED, "requests to {address} are stuck ({queued} waiting)", "check that LIF and its network"
    ),
    "path.none": Reason(
        FAILED, "no path to {device} is up ({states})", "check the network, the LIFs and the mapping, then run: systemctl reload {unit}"
    ),
    "path.missing": Reason(
        DEGRADED,
        "{have} of {wanted} paths to {device} are up, missing: {missing}",
        "check that portal and its network, then run: systemctl reload {unit}",
    ),
    "path.not-optimized": Reason(
        DEGRADED,
        "every path to {device} that is up goes through a node that does not own it ({paths})",
        "check the other node and its LIFs: storage failover show, network interface show",
    ),
    "port.down": Reason(DEGRADED, "FC port {port} ({host}) is {state}", "check its cable and its port on the switch"),
    "port.target-lost": Reason(
        DEGRADED, "FC port {port} ({host}) has lost the targets {targets}", "check the zoning and the array's FC LIFs"
    ),
    "channel.missing": Reason(
        DEGRADED, "{have} of {wanted} SMB channels to {server} are up", "check the LIFs of that server and their networks"
    ),
    "heartbeat.none": Reason(
        FAILED, "the file system on {target} has no heartbeat in cluster {cluster}", "systemctl status kvmontap-o2cb@{cluster}.service"
    ),
    "heartbeat.late": Reason(
        FAILED,
        "no heartbeat of cluster {cluster} has been written on {target} for {seconds:.0f} s; after {limit:.0f} s this host resets itself",
        "check the paths to its device",
    ),
    "cluster.unconnected": Reason(
        DEGRADED,
        "{nodes} of cluster {cluster} can be seen on the disk, but not be reached on the network",
        "check the cluster's network before one side resets itself",
    ),
    "cluster.withdrawn": Reason(
        FAILED, "GFS2 has withdrawn from the file system on {target}", "read why in the kernel log, then reboot this host"
    ),
    "cluster.no-lockspace": Reason(FAILED, "the file system on {target} has no DLM lockspace {lockspace}", "dlm_tool status"),
    "vg.missing": Reason(FAILED, "there is no volume group {vg}", "check vg= and the device of the pool"),
    "vg.incomplete": Reason(
        FAILED, "{missing} of {count} physical volumes of volume group {vg} are missing", "pvs, and check the paths to what is missing"
    ),
    "vg.no-answer": Reason(
        FAILED, "the devices of volume group {vg} do not answer (asked for {seconds:.1f} s)", "check the paths to them"
    ),
    "vg.unknown": Reason(UNKNOWN, "LVM does not tell how volume group {vg} is: {error}", "vgs {vg}"),
    "image.chain-unknown": Reason(
        DEGRADED,
        "what lies beneath {image} is not known: {error}",
        "qemu-img info --backing-chain -U {image}",
    ),
    # The array behind it.
    "array.no-answer": Reason(
        UNKNOWN, "array {array} ({address}) does not answer: {error}", "check its management LIF"
    ),
    "array.login": Reason(
        UNKNOWN, "array {array} ({address}) refuses the login of {user}", "check the credentials in [ontap]"
    ),
    "array.certificate": Reason(
        UNKNOWN, "the certificate of array {array} ({address}) is not trusted: {error}", "check ca= in [ontap]"
    ),
    "array.rights": Reason(
        UNKNOWN, "array {array} does not let {user} {doing} {what}", "give its role that right (kvmontap role)"
    ),
    "array.error": Reason(
        UNKNOWN, "array {array} ({address}) cannot {doing} {what}: {error}", "event log show"
    ),
    "array.client": Reason(
        UNKNOWN, "the client library netapp-ontap cannot be loaded: {error}", "reinstall the package kvmontap"
    ),
    "array.answer": Reason(
        UNKNOWN, "array {array} ({address}) gave an answer that cannot be used: {error}", "check that it is ONTAP 9.10.1 or newer"
    ),
    "array.secret": Reason(UNKNOWN, "array {array}: {error}", "mend the file and run: kvmontap check"),
    "volume.unknown": Reason(
        FAILED, "array {array} has no volume {volume}", "check volume=, export= or share= of the pool, and svm= of the array"
    ),
    "volume.ambiguous": Reason(
        UNKNOWN, "array {array} has {count} volumes that match {volume}", "name the SVM with svm= in [ontap], or the volume with volume="
    ),
    "volume.offline": Reason(
        FAILED, "volume {volume} is {state} on array {array}", "volume online -vserver {svm} -volume {volume}"
    ),
    "volume.unmounted": Reason(
        FAILED,
        "volume {volume} is not mounted at {path} on array {array}",
        "volume mount -vserver {svm} -volume {volume} -junction-path {path}",
    ),
    "volume.full": Reason(FAILED, "volume {volume} on array {array} is full", "free space or grow the volume"),
    "lun.unknown": Reason(FAILED, "array {array} has no {lun}", "check wwid= or namespace= of the pool, and ontap= and svm="),
    "lun.unmapped": Reason(
        DEGRADED,
        "{lun} is mapped to no {groups} that has this host in it ({initiators}) on array {array}",
        "map it, or add the host to its {groups}; kvmontap host-id prints its names",
    ),
    "lun.offline": Reason(FAILED, "{lun} is {state} on array {array}", "{show} -vserver {svm} -path {lun}"),
    "svm.stopped": Reason(FAILED, "SVM {svm} is {state} on array {array}", "vserver start -vserver {svm}"),
    "lif.down": Reason(DEGRADED, "LIF {lif} ({address}) is {state} on array {array}", "network interface show -vserver {svm}"),
    "lif.all-down": Reason(FAILED, "every LIF of pool {pool} is down on array {array}", "network interface show -vserver {svm}"),
    "lif.not-home": Reason(
        DEGRADED, "LIF {lif} ({address}) is not on its home port", "network interface revert -vserver {svm} -lif {lif}"
    ),
    "lif.one-node": Reason(
        DEGRADED,
        "every LIF of pool {pool} ({lifs}) is on node {node} of array {array} and goes down with it",
        "create a LIF on another node and add its address to the pool",
    ),
    "aggregate.state": Reason(
        DEGRADED, "aggregate {aggregate} of volume {volume} is {state} on array {array}", "storage aggregate show -aggregate {aggregate}"
    ),
    "aggregate.low": Reason(
        DEGRADED,
        "aggregate {aggregate} of volume {volume} is {used}% full on array {array}",
        "move volumes off it or add disks before it is full",
    ),
    "snapmirror.unhealthy": Reason(
        DEGRADED,
        "SnapMirror of volume {volume} to {destination} is not healthy: {why}",
        "snapmirror show -destination-path {destination} -instance",
    ),
    "snapmirror.lag": Reason(
        DEGRADED,
        "SnapMirror of volume {volume} to {destination} is {lag} behind, rpo allows {wanted}",
        "snapmirror show -destination-path {destination} -instance",
    ),
    "snapmirror.missing": Reason(
        DEGRADED,
        "an rpo is asked for, but no array ({arrays}) tells of a SnapMirror relationship of volume {volume}",
        "name the destination's array in [ontap], or set rpo = 0",
    ),
    "snapmirror.not-in-sync": Reason(
        DEGRADED,
        "{kind} of volume {volume} to {destination} is {state}",
        "snapmirror show -destination-path {destination} -instance",
    ),
    "snapmirror.failover": Reason(
        DEGRADED,
        "the last failover of active sync of volume {volume} to {destination} ended as {state}",
        "snapmirror failover show",
    ),
    "mediator.unreachable": Reason(
        DEGRADED,
        "array {array} does not reach its mediator {address}, and will not fail over by itself",
        "snapmirror mediator show",
    ),
    "metrocluster.state": Reason(DEGRADED, "the MetroCluster of array {array} is {state}", "metrocluster show"),
    "snapshot.many": Reason(
        DEGRADED, "volume {volume} holds {count} snapshots of {limit}", "delete snapshots that nobody needs"
    ),
    "ransomware.suspected": Reason(
        DEGRADED, "array {array} suspects ransomware on volume {volume} ({probability})", "security anti-ransomware volume show"
    ),
    # Our own doings.
    "snapshot.failed": Reason(DEGRADED, "no snapshot of volume {volume}: {error}", "{fix}"),
    "snapshot.no-array": Reason(
        DEGRADED, "no snapshot of pool {pool}: its section names no array", "set ontap= in it, or before = none"
    ),
    "snapshot.not-flushed": Reason(
        DEGRADED,
        "the snapshot of volume {volume} may lack what this host has written last: {error}",
        "look at the paths to the device; the next start takes a new one",
    ),
    "snapshot.no-group": Reason(
        DEGRADED,
        "volume {volume} has a snapshot of its own in place of its consistency group's: {error}",
        "put the volumes into one (consistency-group create), or set snapshot-scope = volume",
    ),
    "snapshot.not-locked": Reason(
        DEGRADED,
        "the snapshot of volume {volume} is not locked: ONTAP locks none of a consistency group ({group})",
        "set lock-days = 0, or snapshot-scope = volume",
    ),
    "snapmirror.not-updated": Reason(DEGRADED, "SnapMirror of volume {volume} is not updated: {error}", "{fix}"),
    "retention.failed": Reason(DEGRADED, "old snapshots of volume {volume} stay: {error}", "{fix}"),
    "retention.approval": Reason(
        DEGRADED, "old snapshots of volume {volume} wait for the approval of other administrators: {error}", "{fix}"
    ),
    "pool.broken": Reason(
        FAILED, "the section of pool {pool} in {file} is wrong", "run: kvmontap check"
    ),
    "pool.not-attached": Reason(
        UNKNOWN, "pool {pool} ({protocol}) cannot be checked by this version", "see NEWS for the protocols that it covers"
    ),
    "gate.timeout": Reason(UNKNOWN, "no verdict within {seconds:.1f} s", "journalctl -u kvmontapd"),
    "gate.error": Reason(UNKNOWN, "kvmontap itself failed: {error}", "journalctl -u kvmontapd"),
    "config.unreadable": Reason(UNKNOWN, "{file} cannot be used: {error}", "run: kvmontap check"),
    "domain.unreadable": Reason(UNKNOWN, "the domain XML of {domain} cannot be read: {error}", "virsh edit {domain}"),
}


def finding(code: str, health: str = "", since: Optional[float] = None, **fields: object) -> Finding:
    """A Finding with the text of `code`; `health` overrides the table's (a policy may judge otherwise)."""
    reason = REASONS[code]
    return Finding(code, health or reason.health, reason.text.format(**fields), reason.fix.format(**fields), since)


def worst(pool: str, findings: object) -> PoolHealth:
    """The health that follows from findings: the worst of them, `ok` without any; worst first.

    Of two that weigh the same, what the array says of the volume comes first: it is the cause of what the mount shows."""
    ordered = tuple(sorted(findings, key=lambda one: (-HEALTHS.index(one.health), not one.code.startswith(("volume.", "svm.", "lun.")))))
    return PoolHealth(pool, ordered[0].health if ordered else OK, ordered)
