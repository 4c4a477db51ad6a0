"""The checks of an array: from the records of its REST API to advice.  Pure; `asking` gets the records."""

import ipaddress
from typing import Any, Iterator, Mapping, Sequence, Tuple

from kvmontap.array.answers import flag, number, text
from kvmontap.array.maps import shown
from kvmontap.doctor.advice import Advice
from kvmontap.model import FC, ISCSI, NFS, NVME, Pool

SIDE = "array"
Record = Mapping[str, Any]

# (pool asks for it, what it is, first ONTAP with it)
VERSIONS = (
    (lambda pool: pool.trunking, "session trunking", (9, 14)),
    (lambda pool: pool.tls != "no", "NFS over TLS", (9, 15)),
    (lambda pool: pool.protocol == "nvme-tcp", "NVMe/TCP", (9, 10)),
    (lambda pool: pool.tls_key_file != "", "NVMe/TCP over TLS", (9, 16)),
    (lambda pool: pool.dhchap_file != "", "DH-HMAC-CHAP", (9, 12)),
    (lambda pool: pool.snapshots.lock_days > 0, "locked snapshots", (9, 12)),
    (lambda pool: pool.snapshot_scope == "consistency-group", "snapshots of consistency groups by REST", (9, 10)),
    (lambda pool: pool.transport == "rdma", "NFS over RDMA", (9, 10)),
    (lambda pool: True, "this REST interface", (9, 8)),
)


def version(record: Record, pools: Sequence[Pool]) -> Iterator[Advice]:
    """What the pools ask for and the array's ONTAP does not have."""
    have = (number(record, "version.generation") or 0, number(record, "version.major") or 0)
    for asks, what, since in VERSIONS:
        names = tuple(pool.name for pool in pools if asks(pool))
        if names and (0, 0) < have < since:
            yield Advice(SIDE, "array.version", f"it runs ONTAP {have[0]}.{have[1]}, and {what} came with {since[0]}.{since[1]}",
                         "have it upgraded, or take the key out of the file", names)


def volume(record: Record, pool: Pool) -> Iterator[Advice]:
    """The settings of the volume behind a pool."""
    name, svm = text(record, "name"), text(record, "svm.name")
    modify = f"volume modify -vserver {svm} -volume {name}"
    if text(record, "guarantee.type") == "none" and text(record, "autosize.mode") == "off":
        yield _of(pool, "volume.guarantee", f"volume {name} is thin and does not grow by itself",
                  f"volume autosize -vserver {svm} -volume {name} -mode grow")
    if flag(record, "space.snapshot.autodelete_enabled"):
        yield _of(pool, "volume.autodelete", f"volume {name} deletes snapshots by itself",
                  f"volume snapshot autodelete modify -vserver {svm} -volume {name} -enabled false")
    reserve = number(record, "space.snapshot.reserve_percent")
    block = pool.protocol in (ISCSI, FC) + NVME
    if reserve is not None and block and reserve > 0:
        yield _of(pool, "volume.reserve", f"volume {name} keeps {reserve}% for snapshots", f"{modify} -percent-snapshot-space 0")
    elif reserve == 0 and not block and pool.snapshots.before:
        yield _of(pool, "volume.reserve", f"volume {name} has no snapshot reserve", f"{modify} -percent-snapshot-space 5")
    if not block and flag(record, "snapshot_directory_access_enabled") is False:
        yield _of(pool, "volume.directory", f"volume {name} does not show its snapshots", f"{modify} -snapdir-access true")
    style = text(record, "nas.security_style")
    if pool.protocol == NFS and style not in ("", "unix"):
        yield _of(pool, "volume.style", f"volume {name} has the security style {style}", f"{modify} -security-style unix")


def _of(pool: Pool, check: str, what: str, fix: str) -> Advice:
    return Advice(SIDE, check, what, fix, (pool.name,))


def export(policy: Record, pool: Pool, addresses: Sequence[str], volume_name: str) -> Iterator[Advice]:
    """What the export policy of a volume lets this host do; addresses: those by which it reaches the pool's servers."""
    name, svm = text(policy, "name"), text(policy, "svm.name")
    rules = policy.get("rules")
    rules = [one for one in rules if isinstance(one, Mapping)] if isinstance(rules, list) else []
    for address in addresses:
        rule = next((one for one in sorted(rules, key=lambda one: number(one, "index") or 0) if _admits(one, pool, address)), None)
        create = (f"export-policy rule create -vserver {svm} -policyname {name} -clientmatch {address} -protocol nfs "
                  f"-rorule {pool.security} -rwrule {pool.security} -superuser {pool.security}")
        if rule is None:
            if not any(_unknown(one) for one in rules):
                yield _of(pool, "export.rule", f"no rule of export policy {name} (volume {volume_name}) names {address}", create)
            continue
        change = f"export-policy rule modify -vserver {svm} -policyname {name} -ruleindex {number(rule, 'index') or 1}"
        if not _grants(rule, "rw_rule", pool):
            yield _of(pool, "export.read-only", f"export policy {name} lets {address} only read", f"{change} -rwrule {pool.security}")
        if not _grants(rule, "superuser", pool):
            yield _of(pool, "export.root", f"export policy {name} takes root of {address} for nobody",
                      f"{change} -superuser {pool.security}")


def _words(record: Record, key: str) -> Tuple[str, ...]:
    value = record.get(key)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _clients(rule: Record) -> Iterator[str]:
    value = rule.get("clients")
    for one in value if isinstance(value, list) else ():
        if isinstance(one, Mapping):
            yield from (part.strip() for part in text(one, "match").split(","))


def _admits(rule: Record, pool: Pool, address: str) -> bool:
    protocols = _words(rule, "protocols") or ("any",)
    version_ = "nfs3" if pool.version == "3" else "nfs4"
    if not {"any", "nfs", version_}.intersection(protocols):
        return False
    return any(_inside(address, client) for client in _clients(rule)) and _grants(rule, "ro_rule", pool)


def _inside(address: str, client: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(client, strict=False)
    except ValueError:
        return False


def _unknown(rule: Record) -> bool:
    """Whether a rule names clients in a way that only the array can resolve: host names, domains, netgroups."""
    for client in _clients(rule):
        try:
            ipaddress.ip_network(client, strict=False)
        except ValueError:
            return True
    return False


def _grants(rule: Record, key: str, pool: Pool) -> bool:
    return bool({"any", pool.security}.intersection(_words(rule, key)))


def maps(igroups: Sequence[Record], names: Sequence[str], pool: Pool, what: str, svm: str) -> Iterator[Advice]:
    """Whether a LUN or namespace is mapped to this host; igroups: those (or subsystems) that it is mapped to."""
    if shown(igroups, names, pool):
        return
    groups = [text(group, "name") for group in igroups]
    host = names[0] if names else "NAME"
    if pool.protocol in NVME:
        fix = f"vserver nvme subsystem host add -vserver {svm} -subsystem {groups[0] if groups else 'SUBSYSTEM'} -host-nqn {host}"
    else:
        fix = f"lun igroup add -vserver {svm} -igroup {groups[0] if groups else 'IGROUP'} -initiator {host}"
    told = f"only to {', '.join(groups)}, without this host" if groups else "to nobody"
    yield _of(pool, "lun.map", f"{what} is mapped {told}", fix)


def clock(ahead: float, array: str) -> Iterator[Advice]:
    """ahead: seconds by which the array's clock is ahead of this host's; its answers tell whole seconds."""
    if abs(ahead) > 5:
        yield Advice(SIDE, "array.clock",
                     f"the clock of array {array} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's",
                     "give both the same NTP servers: cluster time-service ntp server create")

