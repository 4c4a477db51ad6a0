"""What the array says about the volume behind a pool: which one it is, and how the volume, its SVM and its LIFs are.

`look` asks (three requests; a fourth where something is wrong) and the judge_* functions, which are pure, turn records
into findings.  Imports no client library: it talks through kvmontap.array.client.
"""

import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from kvmontap.array import luns, names
from kvmontap.array.answers import AnswerError, flag, number, one_line, text
from kvmontap.array.client import Client
from kvmontap.array.errors import UNKNOWN_FIELD, ArrayError, unusable
from kvmontap.model import NFS, SMB, Finding, Pool
from kvmontap.reasons import finding

# ONTAP's limit for a volume, and from where on we warn: some days before a schedule that leaks has filled it.
SNAPSHOT_LIMIT = 1023
MANY_SNAPSHOTS = 800
# Characters that mean something in an ONTAP query value.
QUERY_CHARACTERS = frozenset('*|!<>{}",')
# Seconds for a host name of `server`; it only serves to recognise LIFs.
RESOLVE_SECONDS = 1.0

_VOLUME_FIELDS = (
    "name", "uuid", "state", "type", "nas.path", "svm.name", "svm.uuid", "space.size", "space.available",
    "snapshot_count", "snapshot_locking_enabled", "aggregates.name",
)  # fmt: skip
# Named because `fields=*` leaves them out; unknown to ONTAP before 9.10.1.
_RANSOMWARE_FIELDS = ("anti_ransomware.state", "anti_ransomware.attack_probability")
_LIF_FIELDS = ("name", "state", "enabled", "ip.address", "location.is_home", "svm.name")
_SHARE_FIELDS = ("name", "path", "volume.name", "volume.uuid", "svm.name", "svm.uuid")

_VOLUME_STATES = ("online", "offline", "restricted", "error", "mixed")
_SVM_STATES = ("starting", "running", "stopping", "stopped", "deleting", "initializing")


class VolumeRef(NamedTuple):
    """One volume of an array."""

    uuid: str
    name: str
    svm: str
    svm_uuid: str
    locking: bool = False  # whether it takes tamper-proof snapshots


class VolumeLook(NamedTuple):
    """What a look at the volume behind a pool gave."""

    ref: Optional[VolumeRef]  # None where the volume was not found, or nobody answered
    findings: Tuple[Finding, ...] = ()
    skipped: Tuple[str, ...] = ()  # what could not be looked at without blame: rights that the role lacks, names without an address
    snapshots: Optional[int] = None
    size: Optional[int] = None  # bytes
    available: Optional[int] = None  # bytes
    aggregates: Tuple[str, ...] = ()  # names of those that it lies on
    block: str = ""  # UUID of the pool's LUN or namespace, where that is how the volume was found


class _Search(NamedTuple):
    """How to find a volume: filters of the query, and what of its records counts."""

    filters: Dict[str, str]
    shown: str  # for sentences
    name: str = ""
    paths: Tuple[str, ...] = ()  # junction paths that would do, best first
    uuid: str = ""
    findings: Tuple[Finding, ...] = ()  # about what led to the volume
    block: str = ""  # UUID of the LUN or namespace that led to it


def look(client: Client, pool: Pool, deadline: float) -> VolumeLook:
    """How the array sees the volume behind `pool`; never raises for anything that the array does."""
    deadline = client.limit(deadline)
    try:
        return _look(client, pool, deadline)
    except ArrayError as error:
        return VolumeLook(None, (error.finding,))
    except AnswerError as error:
        return VolumeLook(None, (unusable(client.where(""), one_line(str(error))).finding,))


def _look(client: Client, pool: Pool, deadline: float) -> VolumeLook:
    search = _search(client, pool, deadline)
    if isinstance(search, Finding):
        return VolumeLook(None, (search,))
    if search is None:
        return VolumeLook(None, (), (f"the volume of pool {pool.name}: volume= does not name it, nor does its device tell",))
    record = _volume(client, pool, search, deadline)
    if isinstance(record, Finding):
        return VolumeLook(None, (record,))
    ref = reference(record)
    findings = list(judge_volume(record, client.array.name, search.paths) + search.findings)
    seen = VolumeLook(
        ref, (), (), number(record, "snapshot_count"), number(record, "space.size"), number(record, "space.available"),
        _aggregates(record), search.block,
    )  # fmt: skip
    skipped: List[str] = []
    try:
        serving = _lifs(client, pool, ref, deadline, findings, skipped)
        # The LIFs of a stopped SVM are down, so that one which is up says enough; SMB has asked for its share already.
        if not (serving and pool.protocol == SMB):
            _svm(client, ref, deadline, findings, skipped)
    except ArrayError as error:
        findings.append(error.finding)
    return seen._replace(findings=tuple(findings), skipped=tuple(skipped))


# -- the volume


def _search(client: Client, pool: Pool, deadline: float) -> Union[_Search, Finding, None]:
    """How to find the pool's volume; None where nothing says which one it is, a Finding where it cannot be there."""
    svm = {"svm.name": client.array.svm} if client.array.svm else {}
    if pool.volume:
        if QUERY_CHARACTERS & set(pool.volume):
            return finding("volume.unknown", array=client.array.name, volume=pool.volume)
        return _Search({**svm, "name": pool.volume}, pool.volume, name=pool.volume)
    if pool.protocol == NFS and pool.export:
        return by_junction(pool.export, svm)
    if pool.protocol == SMB and pool.share:
        return _share(client, pool.share.strip("/\\").replace("\\", "/").split("/")[0], svm, deadline)
    held = luns.holder(client, pool, svm, deadline)
    return _Search({"uuid": held.volume_uuid}, held.volume, uuid=held.volume_uuid, findings=held.findings, block=held.uuid) if isinstance(
        held, luns.Held) else held


def junctions(path: str) -> Tuple[str, ...]:
    """The junction paths under which a volume would hold `path`, longest first.

    The SVM's root is one for itself only: a volume that is offline has no junction, and must not be taken for the root volume.
    """
    parts = [part for part in path.split("/") if part]
    return tuple("/" + "/".join(parts[:count]) for count in range(len(parts), 0, -1)) or ("/",)


def by_junction(path: str, svm: Mapping[str, str]) -> _Search:
    """How to find the volume that holds `path` of an SVM's namespace."""
    paths = junctions(path)
    if any(QUERY_CHARACTERS & set(one) or ".." in one for one in paths):
        # Such a path cannot be asked for; everything that has a junction is listed and compared here.
        return _Search({**svm} or {"nas.path": "*"}, paths[0], paths=paths)
    return _Search({**svm, "nas.path": "|".join(paths)}, paths[0], paths=paths)


def _share(client: Client, share: str, svm: Mapping[str, str], deadline: float) -> Union[_Search, Finding]:
    unknown = finding("volume.unknown", array=client.array.name, volume=f"with an SMB share {share}")
    if not share or QUERY_CHARACTERS & set(share):
        return unknown
    found: List[Mapping[str, Any]] = []
    for asked in (share, "*"):  # SMB does not heed the case of a share's name; a query does
        records = client.records("CifsShare", _SHARE_FIELDS, deadline, most=5000, **{**svm, "name": asked})
        found = [record for record in records if text(record, "name").lower() == share.lower()]
        if found:
            break
    if not found:
        return unknown
    if len(found) > 1:
        return finding("volume.ambiguous", array=client.array.name, count=len(found), volume=f"SMB share {share}")
    record = found[0]
    uuid = text(record, "volume.uuid")
    owner = {"svm.name": text(record, "svm.name")} if text(record, "svm.name") else dict(svm)
    if uuid:
        return _Search({"uuid": uuid}, text(record, "volume.name") or share, uuid=uuid)
    return by_junction(text(record, "path", "/"), owner)


def matching(records: Sequence[Mapping[str, Any]], search: _Search) -> List[Mapping[str, Any]]:
    """The records that really are what was searched for: with junction paths, those with the best one only."""
    if search.uuid:
        return [record for record in records if text(record, "uuid") == search.uuid]
    if search.name:
        return [record for record in records if text(record, "name") == search.name]
    for path in search.paths:
        found = [record for record in records if text(record, "nas.path").rstrip("/") == path.rstrip("/")]
        if found:
            return found
    return []


def _volume(client: Client, pool: Pool, search: _Search, deadline: float) -> Union[Mapping[str, Any], Finding]:
    """The record of the one volume, or what is wrong with that."""
    found = matching(_volumes(client, search.filters, deadline), search)
    key = f"{pool.name}:{search.shown}"
    known = client.volumes.get(key)
    if search.paths and (not found or (known is not None and text(found[0], "uuid") != known)):
        found = _lost(client, search, known, deadline) or found
    if not found:
        return finding("volume.unknown", array=client.array.name, volume=_with(search))
    if len(found) > 1:
        return finding("volume.ambiguous", array=client.array.name, count=len(found), volume=_with(search))
    if not text(found[0], "uuid"):
        raise AnswerError("a volume has no uuid")
    if not search.paths or text(found[0], "nas.path") == search.paths[0]:
        client.volumes[key] = text(found[0], "uuid")
    return found[0]


def _lost(client: Client, search: _Search, known: Optional[str], deadline: float) -> List[Mapping[str, Any]]:
    """The volume whose junction path is gone, as ONTAP takes it from a volume that goes offline.

    It is the one that was seen there before, else one of the path's last name that has no junction and is not online.
    """
    if known is not None:
        return [
            record
            for record in matching(_volumes(client, {"uuid": known}, deadline), _Search({}, "", uuid=known))
            if not text(record, "nas.path")
        ]
    name = search.paths[0].rsplit("/", 1)[-1]
    if not name or QUERY_CHARACTERS & set(name) or ".." in name:
        return []
    svm = {key: value for key, value in search.filters.items() if key == "svm.name"}
    return [
        record
        for record in matching(_volumes(client, {**svm, "name": name}, deadline), _Search({}, "", name=name))
        if not text(record, "nas.path") and text(record, "state") != "online"
    ]


def _volumes(client: Client, filters: Mapping[str, str], deadline: float) -> Tuple[Dict[str, Any], ...]:
    more = () if client.no_ransomware else _RANSOMWARE_FIELDS
    try:
        return client.records("Volume", _VOLUME_FIELDS + more, deadline, most=5000, **filters)
    except ArrayError as error:
        if not more or error.ontap_code not in UNKNOWN_FIELD:
            raise
        client.no_ransomware = True
        return client.records("Volume", _VOLUME_FIELDS, deadline, most=5000, **filters)


def _with(search: _Search) -> str:
    return f"with junction path {search.shown}" if search.paths else search.shown


def reference(record: Mapping[str, Any]) -> VolumeRef:
    """The VolumeRef of a volume's record."""
    return VolumeRef(
        text(record, "uuid"),
        text(record, "name"),
        text(record, "svm.name"),
        text(record, "svm.uuid"),
        bool(flag(record, "snapshot_locking_enabled")),
    )


def _aggregates(record: Mapping[str, Any]) -> Tuple[str, ...]:
    found = record.get("aggregates") or []
    if not isinstance(found, list):
        raise AnswerError("aggregates is not a list")
    return tuple(text(one, "name") for one in found if isinstance(one, dict))


def judge_volume(record: Mapping[str, Any], array: str, paths: Tuple[str, ...] = ()) -> Tuple[Finding, ...]:
    """What a volume's record says of its health; `paths` = junction paths under which it should be."""
    ref = reference(record)
    state = text(record, "state")
    if state != "online":
        if state not in _VOLUME_STATES:
            said = f"the state of volume {ref.name} is {one_line(state)}" if state else f"volume {ref.name} has no state"
            return (finding("array.answer", array=array, address=ref.svm, error=said),)
        return (finding("volume.offline", volume=ref.name, state=state, array=array, svm=ref.svm),)
    findings = []
    if paths and not text(record, "nas.path"):
        findings.append(finding("volume.unmounted", volume=ref.name, path=paths[0], array=array, svm=ref.svm))
    available = number(record, "space.available")
    if available is not None and available <= 0:
        findings.append(finding("volume.full", volume=ref.name, array=array))
    count = number(record, "snapshot_count")
    if count is not None and count >= MANY_SNAPSHOTS:
        findings.append(finding("snapshot.many", volume=ref.name, count=count, limit=SNAPSHOT_LIMIT))
    probability = text(record, "anti_ransomware.attack_probability")
    if probability in ("moderate", "high"):
        findings.append(finding("ransomware.suspected", array=array, volume=ref.name, probability=probability))
    return tuple(findings)


# -- its SVM and LIFs


def _svm(client: Client, ref: VolumeRef, deadline: float, findings: List[Finding], skipped: List[str]) -> None:
    filters = {"uuid": ref.svm_uuid} if ref.svm_uuid else {"name": ref.svm}
    try:
        records = client.records("Svm", ("name", "state"), deadline, **filters)
    except ArrayError as error:
        if error.finding.code != "array.rights":
            raise
        skipped.append(f"the state of SVM {ref.svm}: {error.finding.text}")
        return
    if records:
        findings.extend(judge_svm(records[0], client.array.name))


def judge_svm(record: Mapping[str, Any], array: str) -> Tuple[Finding, ...]:
    """What an SVM's record says of its health."""
    name, state = text(record, "name"), text(record, "state")
    if state in ("running", "starting", ""):
        return ()
    if state not in _SVM_STATES:
        return (finding("array.answer", array=array, address=name, error=f"the state of SVM {name} is {one_line(state)}"),)
    return (finding("svm.stopped", svm=name, state=state, array=array),)


def _lifs(
    client: Client, pool: Pool, ref: VolumeRef, deadline: float, findings: List[Finding], skipped: List[str]
) -> bool:
    """Adds what is wrong with the LIFs of the pool's addresses; whether one of them is known to be up."""
    wanted: Dict[str, str] = {}
    unknown = 0
    for server in pool.server:
        try:
            limit = min(deadline, time.monotonic() + RESOLVE_SECONDS)
            wanted.update((address[1][0], server) for address in names.resolve(server, 0, limit))
        except (OSError, UnicodeError):
            unknown += 1
            skipped.append(f"the LIF of {server}: the name has no address here")
    if not wanted:
        return False
    filters = {"svm.uuid": ref.svm_uuid} if ref.svm_uuid else {"svm.name": ref.svm}
    try:
        records = client.records("IpInterface", _LIF_FIELDS, deadline, most=1000, **filters)
    except ArrayError as error:
        if error.finding.code != "array.rights":
            raise
        skipped.append(f"the LIFs of SVM {ref.svm}: {error.finding.text}")
        return False
    ours = [record for record in records if text(record, "ip.address") in wanted]
    known = {wanted[text(record, "ip.address")] for record in ours}
    skipped.extend(f"the LIF of {server}: SVM {ref.svm} has none of that address" for server in pool.server
                   if server in wanted.values() and server not in known)  # fmt: skip
    findings.extend(judge_lifs(ours, pool.name, client.array.name, ref.svm, complete=known == set(pool.server)))
    return any(text(record, "state") == "up" for record in ours)


def judge_lifs(
    records: Sequence[Mapping[str, Any]], pool: str, array: str, svm: str, complete: bool
) -> Tuple[Finding, ...]:
    """What the records of a pool's LIFs say; `complete` = every address of the pool has one among them."""
    down = [record for record in records if text(record, "state") == "down" or flag(record, "enabled") is False]
    if down and complete and len(down) == len(records):
        return (finding("lif.all-down", pool=pool, array=array, svm=svm),)
    findings = [
        finding("lif.down", lif=text(record, "name"), address=text(record, "ip.address"), state="down", array=array, svm=svm)
        for record in down
    ]
    findings += [
        finding("lif.not-home", lif=text(record, "name"), address=text(record, "ip.address"), svm=svm)
        for record in records
        if record not in down and flag(record, "location.is_home") is False
    ]
    return tuple(findings)
