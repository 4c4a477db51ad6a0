"""What changes slowly behind the pools of an array: LIFs and the nodes they are on, aggregates, SnapMirror, MetroCluster.

Never on a hook's path.  `ask` puts at most eight questions to an array, whatever the number of its pools; kvmontapd asks now and then,
`kvmontap status` at once.  `judge`, which is pure, tells what the answers mean for one pool; since they may be some minutes old, nothing
in here is worse than degraded.

A question that the role may not ask is skipped, and so is one that an older ONTAP does not know.
"""

from ipaddress import ip_address
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array import protection
from kvmontap.array.answers import AnswerError, number, one_line, text
from kvmontap.array.client import Client, split_address
from kvmontap.array.errors import UNKNOWN_API, ArrayError
from kvmontap.array.state import VolumeLook, judge_lifs
from kvmontap.model import DEGRADED, FC, FILE_PROTOCOLS, HEALTHS, ISCSI, NVME, Finding, Pool
from kvmontap.reasons import finding

Record = Mapping[str, Any]
Records = Tuple[Record, ...]

NEARLY_FULL = 95  # percent of an aggregate, from where on ONTAP itself warns
_LIF_FIELDS = ("name", "state", "enabled", "ip.address", "location.is_home", "location.node.name", "location.home_node.name",
               "location.failover", "svm.name", "svm.uuid")  # fmt: skip
_FC_FIELDS = ("name", "state", "enabled", "data_protocol", "location.node.name", "svm.name", "svm.uuid")
_IGROUP_FIELDS = ("name", "initiators.name", "lun_maps.lun.uuid")
_SUBSYSTEM_FIELDS = ("name", "hosts.nqn", "subsystem_maps.namespace.uuid")
_AGGREGATE_FIELDS = ("name", "state", "space.block_storage.used_percent")
# A LIF with one of these goes down with its node.
_STAYS = ("home_port_only", "home_node_only", "disabled")
_FABRIC = (FC, "nvme-fc")


class Standing(NamedTuple):
    """What one array answered; None where it was not asked or did not say."""

    array: str
    lifs: Optional[Records] = None
    fc_lifs: Optional[Records] = None
    igroups: Optional[Records] = None
    subsystems: Optional[Records] = None
    aggregates: Optional[Records] = None
    relationships: Optional[Records] = None
    mediators: Optional[Records] = None
    metrocluster: Optional[Record] = None
    skipped: Tuple[str, ...] = ()  # what could not be asked without blame, a sentence each
    whole: bool = True  # False: the array stopped answering on the way


def ask(client: Client, pools: Iterable[Pool], deadline: float) -> Standing:
    """Everything that the array says about what stands behind `pools`; never raises for anything that the array does.

    After a question without an answer no further one is put: whoever hangs once hangs every time.
    """
    protocols = {pool.protocol for pool in pools if pool.ontap == client.array.name}
    questions: Dict[str, Callable[[], Any]] = {}
    if protocols - set(_FABRIC):
        questions["lifs"] = lambda: client.records("IpInterface", _LIF_FIELDS, deadline, most=5000)
    if protocols & set(_FABRIC):
        questions["fc_lifs"] = lambda: client.records("FcInterface", _FC_FIELDS, deadline, most=5000)
    if protocols & {ISCSI, FC}:
        questions["igroups"] = lambda: client.records("Igroup", _IGROUP_FIELDS, deadline, most=5000)
    if protocols & set(NVME):
        questions["subsystems"] = lambda: client.records("NvmeSubsystem", _SUBSYSTEM_FIELDS, deadline, most=5000)
    if protocols:
        questions["aggregates"] = lambda: client.records("Aggregate", _AGGREGATE_FIELDS, deadline, most=1000)
    # An array without a pool of ours may be where SnapMirror takes their volumes.
    questions["relationships"] = lambda: client.records(
        "SnapmirrorRelationship", protection.RELATIONSHIP_FIELDS, deadline, most=10000)
    if protocols:
        questions["mediators"] = lambda: client.records("Mediator", protection.MEDIATOR_FIELDS, deadline)
        questions["metrocluster"] = lambda: client.record("Metrocluster", protection.METROCLUSTER_FIELDS, deadline)
    found: Dict[str, Any] = {}
    skipped: List[str] = []
    whole = True
    for name, question in questions.items():
        try:
            found[name] = question()
        except ArrayError as error:
            if error.ontap_code == UNKNOWN_API:
                continue
            skipped.append(f"{name.replace('_', ' ')}: {error.finding.text}")
            if error.finding.code != "array.rights":
                whole = False
                break
    return Standing(client.array.name, skipped=tuple(skipped), whole=whole, **found)


def over(new: Standing, old: Standing) -> Standing:
    """What is known after `new`: where the array did not answer to the end, the older answers stand for those that are missing."""
    if new.whole:
        return new
    told = {key: value for key, value in new._asdict().items() if value is not None}
    return old._replace(**told)


def judge(
    pool: Pool, seen: Optional[VolumeLook], standings: Mapping[str, Standing], initiators: Tuple[str, ...] = ()
) -> Tuple[Finding, ...]:
    """What the arrays' answers mean for a pool.

    seen: what is known of its volume; standings: by name, of every array that was asked; initiators: the names by which an array knows
    this host for the pool's protocol (IQN, WWPNs, NQN), () where it has none."""
    own = standings.get(pool.ontap)
    if own is None or seen is None or seen.ref is None:
        return ()
    try:
        found = [*_lifs(pool, seen, own), *_mapped(pool, seen, own, initiators), *_aggregates(seen, own)]
        found += _protection(pool, seen, own, standings)
    except AnswerError as error:
        found = [finding("array.answer", array=pool.ontap, address=pool.ontap, error=one_line(str(error)))]
    return tuple(one if HEALTHS.index(one.health) <= HEALTHS.index(DEGRADED) else one._replace(health=DEGRADED) for one in found)


# -- LIFs


def _lifs(pool: Pool, seen: VolumeLook, own: Standing) -> Iterable[Finding]:
    """LIFs of block pools that are down or away from home (those of file pools are asked for at each start), and what one node carries."""
    if pool.protocol in _FABRIC:
        kind = "fcp" if pool.protocol == FC else "fc_nvme"
        ours = [record for record in own.fc_lifs or () if _of_svm(record, seen) and text(record, "data_protocol") in (kind, "")]
    else:
        addresses = {_plain(split_address(one)[0]) for one in (*pool.server, *pool.portals)}
        ours = [record for record in own.lifs or () if _of_svm(record, seen) and _plain(text(record, "ip.address")) in addresses]
    if pool.protocol not in FILE_PROTOCOLS:
        yield from judge_lifs(ours, pool.name, own.array, seen.ref.svm, complete=False)
    yield from judge_nodes(ours, (*(own.lifs or ()), *(own.fc_lifs or ())), pool, own.array)


def _plain(host: str) -> str:
    """One spelling per address; a name stays as it is, since nothing is looked up here."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host


def _of_svm(record: Record, seen: VolumeLook) -> bool:
    if text(record, "svm.uuid") and seen.ref.svm_uuid:
        return text(record, "svm.uuid") == seen.ref.svm_uuid
    return text(record, "svm.name") == seen.ref.svm


def judge_nodes(ours: Iterable[Record], every: Iterable[Record], pool: Pool, array: str) -> Tuple[Finding, ...]:
    """Whether one node carries every LIF of a pool that is up, in a cluster that has more.

    LIFs that move to another node by themselves are redundant on one, and session trunking even wants them there.
    """
    up = [record for record in ours if text(record, "state") != "down"]
    nodes = {text(record, "location.node.name") for record in up} - {""}
    known = {text(record, f"location.{which}.name") for record in every for which in ("node", "home_node")} - {""}
    staying = pool.protocol in _FABRIC or any(text(record, "location.failover") in _STAYS for record in up)
    if len(nodes) != 1 or len(known) < 2 or not staying:
        return ()
    names = ", ".join(sorted(text(record, "name") for record in up)[:4])
    return (finding("lif.one-node", lifs=names, node=nodes.pop(), pool=pool.name, array=array),)


# -- maps


def _mapped(pool: Pool, seen: VolumeLook, own: Standing, initiators: Tuple[str, ...]) -> Iterable[Finding]:
    """Whether the pool's LUN or namespace is mapped to this host."""
    nvme = pool.protocol in NVME
    groups, maps, members = (own.subsystems, "subsystem_maps", "hosts") if nvme else (own.igroups, "lun_maps", "initiators")
    if groups is None or not initiators or not seen.block:
        return
    ours = {one.lower() for one in initiators}
    path, name = ("namespace.uuid", "nqn") if nvme else ("lun.uuid", "name")
    for group in groups:
        if any(text(one, path) == seen.block for one in _list(group, maps)) and any(
                text(one, name).lower() in ours for one in _list(group, members)):
            return
    device = f"namespace {pool.namespace}" if nvme else f"LUN {pool.wwid}"
    yield finding("lun.unmapped", lun=device, initiators=", ".join(initiators), array=own.array,
                  groups="subsystem" if nvme else "igroup")  # fmt: skip


def _list(record: Record, key: str) -> List[Record]:
    value = record.get(key) or []
    if not isinstance(value, list):
        raise AnswerError(f"{key} is not a list")
    return [one for one in value if isinstance(one, Mapping)]


# -- aggregates and protection


def _aggregates(seen: VolumeLook, own: Standing) -> Iterable[Finding]:
    for record in own.aggregates or ():
        name = text(record, "name")
        if name not in seen.aggregates:
            continue
        state, used = text(record, "state"), number(record, "space.block_storage.used_percent")
        shown = {"aggregate": name, "array": own.array, "volume": seen.ref.name}
        if state not in ("online", ""):
            yield finding("aggregate.state", state=one_line(state), **shown)
        elif used is not None and used >= NEARLY_FULL:
            yield finding("aggregate.low", used=used, **shown)


def _protection(pool: Pool, seen: VolumeLook, own: Standing, standings: Mapping[str, Standing]) -> Iterable[Finding]:
    asked = [one for one in standings.values() if one.relationships is not None]
    records = [record for one in asked for record in one.relationships or ()]
    # Where no array may tell of relationships, none can be missed.
    rpo = pool.snapshots.rpo if asked else 0.0
    seen_by = ", ".join(sorted(one.array for one in asked))
    found = protection.judge_relationships(records, seen.ref, rpo, seen_by)
    yield from found.findings
    if found.active_sync or protection.in_metrocluster(own.metrocluster):
        yield from protection.judge_mediators(own.mediators or (), own.array)
    yield from protection.judge_metrocluster(own.metrocluster, own.array)
