"""From raw sections to records: each section by its keys, then what only holds between sections.

Pure.  On the boot path: what only a broken file needs (nearest names, line numbers) is imported or computed when it is.
"""

from typing import Callable, Dict, List, Optional, Tuple

from kvmontap.config.read import Text, index_of
from kvmontap.config.relations import judge_pool, judge_pools
from kvmontap.config.table import CLUSTER, KEYS, ONTAP, POLICIES, POOL, Key
from kvmontap.config.values import address, convert, refuse_control
from kvmontap.model import Array, Boot, Cluster, Config, Gate, Loaded, Metrics, Node, Pool, Problem, Snapshots

RECORDS = {"boot": Boot, "gate": Gate, "snapshots": Snapshots}


class Reporter:
    """Collects problems of one file and finds their lines, at the cost of one pass when the first is told."""

    def __init__(self, path: str, text: Text) -> None:
        self.path = path
        self.problems: List[Problem] = []
        self._lines = text.lines
        self._index: Optional[Dict] = None

    def tell(self, section: Tuple[str, ...], key: str, reason: str, fatal: bool = True, note: bool = False) -> None:
        if self._index is None:
            self._index = index_of(self._lines)
        line, keys = self._index.get(section, (0, {}))
        self.problems.append(Problem(self.path, keys.get(key, line), "/".join(section), key, reason, fatal, note))


def build(text: Text, path: str) -> Loaded:
    """The records of `text` and all its problems, in the order of the file."""
    report = Reporter(path, text)
    for error in text.errors:
        report.problems.append(Problem(path, error.line, error.section, "", error.reason))
    tree = text.tree
    for name in tree.scalars:
        report.tell((), name, "stands before every section; put it into one")
    for name in tree.sections:
        if name not in KEYS:
            report.tell((name,), "", f"is no section of this file{nearest(name, KEYS)}")
    policies = {name: policy(tree, (name,), RECORDS[name](), report) for name in POLICIES}
    metrics = policy(tree, ("metrics",), Metrics(), report)
    arrays = _sections(tree, "ontap", report, lambda where, body: _array(where, body, report))
    clusters = _sections(tree, "clusters", report, lambda where, body: _cluster(where, body, report))
    pools = _sections(tree, "pools", report, lambda where, body: _pool(where, body, policies, report))
    for name, pool in list(pools.items()):
        if not judge_pool(pool, arrays, clusters, set(tree.get("ontap", ())), report.tell):
            del pools[name]
    for name in judge_pools(pools, report.tell):
        pools.pop(name, None)
    broken = _broken(text, tree, pools)
    problems = tuple(sorted(report.problems, key=lambda problem: problem.line))
    return Loaded(Config(arrays, pools, clusters, path=path, metrics=metrics, **policies), problems, broken)


def nearest(word: str, known) -> str:
    """"; did you mean X?" for the known word nearest to `word`, or the list of them."""
    from difflib import get_close_matches  # dear, and only a wrong file needs it

    close = get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _broken(text: Text, tree, pools: Dict[str, Pool]) -> Tuple[str, ...]:
    named = [path[1] for path in text.dropped if len(path) > 1 and path[0] == "pools"]
    section = tree.get("pools")
    named += list(section.sections) if hasattr(section, "sections") else []
    return tuple(dict.fromkeys(name for name in named if name not in pools))


def _sections(tree, top: str, report: Reporter, make: Callable) -> Dict:
    """{name: record} of the subsections of `top`; those for which `make` gives None are left out."""
    body = tree.get(top, {})
    if not hasattr(body, "sections"):
        return {}
    for key in body.scalars:
        report.tell((top,), key, f"stands directly in [{top}]; put it into a subsection [[NAME]]")
    found = {}
    for name in body.sections:
        record = make((top, name), body[name]) if _named_well((top, name), report) else None
        if record is not None:
            found[name] = record
    return found


def _named_well(where: Tuple[str, str], report: Reporter) -> bool:
    try:
        refuse_control(where[1])
        if not convert(Key("", "name", "", ""), where[1]):
            raise ValueError("is empty")
    except ValueError as error:
        report.tell(where, "", f"the name {error}")
        return False
    return True


def _values(body, where: Tuple[str, ...], keys: Tuple[Key, ...], report: Reporter, inner: Tuple[str, ...] = ()):
    """({attribute: value}, sound?) of the keys that stand in `body`; every wrong one is told."""
    values: Dict[str, object] = {}
    sound = True
    table = _table(keys)
    for name in body.scalars:
        key = table.get(name)
        if key is None:
            report.tell(where, name, f"is no key of this section{nearest(name, table)}")
            sound = False
            continue
        try:
            values[name.replace("-", "_")] = convert(key, body[name])
        except ValueError as error:
            report.tell(where, name, str(error))
            sound = False
    for name in body.sections:
        if name not in inner:
            hint = f"write {name} = VALUE" if name in table else f"is no subsection here{nearest(name, inner) if inner else ''}"
            report.tell(where + (name,), "", hint)
            sound = False
    return values, sound


_TABLES: Dict[Tuple[Key, ...], Dict[str, Key]] = {}


def _table(keys: Tuple[Key, ...]) -> Dict[str, Key]:
    if keys not in _TABLES:
        _TABLES[keys] = {key.name: key for key in keys}
    return _TABLES[keys]


def policy(tree, where: Tuple[str, ...], default, report: Reporter, pool: str = ""):
    """The record of a [boot], [gate] or [snapshots] section at `where` over `default`; None where a pool's own is wrong.

    A wrong key of the file's own section leaves that key's default in force: every pool depends on the section, and
    a typo in it must not detach them all."""
    name = where[-1]
    body = tree.get(name, {})
    if not hasattr(body, "scalars"):
        return default
    values, sound = _values(body, where, KEYS[name], report)
    return default._replace(**values) if sound or not pool else None


def _array(where: Tuple[str, str], body, report: Reporter) -> Optional[Array]:
    values, sound = _values(body, where, ONTAP, report)
    record = Array(where[1], **{"address": "", **values})
    if not record.address and "address" not in body:
        report.tell(where, "", "has no address; name the management LIF with address =")
        sound = False
    logins = [key for key, value in (("password-file", record.password_file), ("certificate", record.certificate),
                                     ("token-file", record.token_file)) if value]
    if len(logins) != 1:
        said = f"has {' and '.join(logins)}; keep one of them" if logins else "has no login; give password-file, certificate or token-file"
        report.tell(where, "", said)
        sound = False
    elif record.password_file and not record.username:
        report.tell(where, "password-file", "needs username = beside it")
        sound = False
    elif bool(record.certificate) != bool(record.key):
        report.tell(where, "certificate", "needs key = beside it, the file with its private key")
        sound = False
    return record if sound else None


def _pool(where: Tuple[str, str], body, policies: Dict, report: Reporter) -> Optional[Pool]:
    values, sound = _values(body, where, POOL, report, inner=tuple(POLICIES))
    own = {}
    for name in POLICIES:
        if name in body.sections:
            own[name] = policy(body, where + (name,), policies[name], report, pool=where[1])
            sound = sound and own[name] is not None
    protocol = values.get("protocol")
    if protocol is None:
        if "protocol" not in body:
            report.tell(where, "", "has no protocol; write protocol = nfs, for example")
        return None
    for key in POOL:
        if key.protocols and protocol not in key.protocols and key.name in body:
            report.tell(where, key.name, f"belongs to {', '.join(key.protocols)}, not to {protocol}")
            sound = False
        if protocol in key.needed and key.name not in body:
            report.tell(where, "", f"has no {key.name}; {protocol} needs it")
            sound = False
        elif protocol in key.needed and sound and not values[key.name.replace("-", "_")]:
            report.tell(where, key.name, f"is empty; {protocol} needs it")
            sound = False
    if not sound:
        return None
    pool = Pool(**{"name": where[1], **values, **{name: own.get(name, policies[name]) for name in POLICIES}})
    return pool._replace(target=pool.target or f"/mnt/{pool.name}") if mounted(pool) else pool


def mounted(pool: Pool) -> bool:
    """Whether the pool is a file system that is mounted somewhere (by us, or by libvirt for netfs and fs)."""
    return pool.type in ("dir", "netfs", "fs")


def _cluster(where: Tuple[str, str], body, report: Reporter) -> Optional[Cluster]:
    values, sound = _values(body, where, CLUSTER, report, inner=("nodes",))
    nodes: List[Node] = []
    inner = body.get("nodes", {})
    for name in getattr(inner, "scalars", ()):
        try:
            nodes.append(_node(name, inner[name], len(nodes)))
        except ValueError as error:
            report.tell(where + ("nodes",), name, str(error))
            sound = False
    if not nodes:
        report.tell(where, "", "has no nodes; list them in [[[nodes]]] as NAME = ADDRESS")
        sound = False
    for attribute in ("name", "number", "address"):
        seen = [getattr(node, attribute) for node in nodes]
        for value in sorted({one for one in seen if seen.count(one) > 1}, key=str):
            report.tell(where + ("nodes",), "", f"gives the {attribute} {value} to two nodes")
            sound = False
    record = Cluster(where[1], nodes=tuple(nodes), **values)
    for key, reason in _o2cb(record) if record.stack == "o2cb" else ():
        report.tell(where, key, reason)
        sound = False
    return record if sound else None


def _o2cb(cluster: Cluster) -> List[Tuple[str, str]]:
    """What the o2cb stack cannot take."""
    wrong = []
    if len(cluster.name) > 16 or not all(char.isascii() and char.isalnum() for char in cluster.name):
        wrong.append(("", f"the name {cluster.name!r} cannot be an o2cb cluster's; take up to 16 letters and digits"))
    for node in cluster.nodes:
        if ":" in node.address or node.address.strip("0123456789."):
            wrong.append(("", f"node {node.name} has the address {node.address}; o2cb takes an IPv4 address"))
    return wrong


def _node(name: str, raw, position: int) -> Node:
    parts = raw if isinstance(raw, list) else [part.strip() for part in raw.split(",")]
    refuse_control("".join(parts))
    if len(parts) > 3:
        raise ValueError("takes ADDRESS, PORT, NUMBER")
    port = convert(Key("port", "integer", "", "", low=1, high=65535), parts[1]) if len(parts) > 1 else 7777
    number = convert(Key("number", "integer", "", "", low=0, high=254), parts[2]) if len(parts) > 2 else position
    return Node(name, address(parts[0]), port, number)
