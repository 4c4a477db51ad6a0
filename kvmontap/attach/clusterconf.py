"""/etc/ocfs2/cluster.conf as text: reading it, and merging one cluster into it without touching the others.  Pure.

Stanzas ("cluster:", "node:", "heartbeat:") begin at column 1, their parameters follow after a tab as "key = value", and an empty line
ends a stanza: o2cb(7), ocfs2.cluster.conf(5).
"""

from typing import Dict, List, NamedTuple, Tuple

from kvmontap.model import Cluster


class Stanza(NamedTuple):
    kind: str  # cluster, node, heartbeat
    values: Dict[str, str]
    lines: Tuple[str, ...]  # as they stand in the file, comments included


def parse(text: str) -> List[Stanza]:
    """The stanzas of a file; lines before the first one are a stanza of kind ""."""
    found: List[Stanza] = []
    kind, values, lines = "", {}, []
    for line in text.splitlines():
        word = line.partition("#")[0].strip()
        if line[:1] not in ("", " ", "\t", "#") and word.endswith(":"):
            found.append(Stanza(kind, values, tuple(lines)))
            kind, values, lines = word[:-1].strip(), {}, []
        elif "=" in word:
            key, _, value = word.partition("=")
            values[key.strip()] = value.strip()
        lines.append(line)
    found.append(Stanza(kind, values, tuple(lines)))
    return [stanza for stanza in found if stanza.kind or any(line.strip() for line in stanza.lines)]


def of(stanza: Stanza) -> str:
    """The name of the cluster that a stanza belongs to."""
    return stanza.values.get("name" if stanza.kind == "cluster" else "cluster", "")


def heartbeat_mode(text: str, name: str) -> str:
    """"local" or "global", "" where the file does not have the cluster."""
    for stanza in parse(text):
        if stanza.kind == "cluster" and of(stanza) == name:
            return stanza.values.get("heartbeat_mode", "local")
    return ""


def merged(text: str, cluster: Cluster) -> str:
    """`text` with `cluster` as it is configured; heartbeat regions and mode of it, and all of any other cluster, stay as they are.

    >>> merged(merged("", cluster), cluster) == merged("", cluster)  # doctest: +SKIP
    True
    """
    kept: List[str] = []
    for stanza in parse(text):
        if stanza.kind in ("cluster", "node") and of(stanza) == cluster.name:
            continue
        kept += stanza.lines
    others = "\n".join(kept).strip("\n")
    mode = heartbeat_mode(text, cluster.name) or "local"
    ours = [_stanza("cluster", node_count=len(cluster.nodes), heartbeat_mode=mode, name=cluster.name)]
    ours += [_stanza("node", ip_port=node.port, ip_address=node.address, number=node.number, name=node.name, cluster=cluster.name)
             for node in cluster.nodes]
    result = "\n\n".join(([others] if others else []) + ours) + "\n\n"
    # What says the same already is left byte for byte, comments and order included.
    return text if _facts(text) == _facts(result) else result


def _stanza(kind: str, **values: object) -> str:
    return "\n".join([f"{kind}:"] + [f"\t{key} = {value}" for key, value in values.items()])


def _facts(text: str) -> List[Tuple[str, Tuple[Tuple[str, str], ...]]]:
    return sorted((stanza.kind, tuple(sorted(stanza.values.items()))) for stanza in parse(text) if stanza.kind)
