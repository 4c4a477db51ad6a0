"""Nodes and edges, and their text in DOT.  Pure."""

from typing import Dict, Iterable, List, NamedTuple, Tuple

# Kind -> how it is drawn.
_STYLES: Dict[str, str] = {
    "vm": 'shape=box, style="rounded,filled", fillcolor="#dbe9f6"',
    "pool": 'shape=folder, style=filled, fillcolor="#e3f1df"',
    "mount": 'shape=box, style=filled, fillcolor="#f4f4f4"',
    "device": 'shape=cylinder, style=filled, fillcolor="#f4f4f4"',
    "path": "shape=ellipse",
    "lif": 'shape=ellipse, style=filled, fillcolor="#fdf1d6"',
    "down": 'shape=ellipse, style=filled, fillcolor="#f6c6c6"',
    "node": 'shape=box3d, style=filled, fillcolor="#fdf1d6"',
    "volume": 'shape=cylinder, style=filled, fillcolor="#fde2c8"',
    "unit": 'shape=box, fontname="monospace"',
}


class Node(NamedTuple):
    id: str  # unique
    kind: str  # of _STYLES
    label: str  # lines with \n between


class Edge(NamedTuple):
    tail: str
    head: str
    label: str = ""
    dashed: bool = False


class Part(NamedTuple):
    """A frame with a title."""

    title: str
    nodes: Tuple[Node, ...]
    edges: Tuple[Edge, ...]


def unique(title: str, nodes: Iterable[Node], edges: Iterable[Edge]) -> Part:
    """A part with each node and each edge once; edges to what is no node of it are left out."""
    kept = {node.id: node for node in nodes}
    return Part(title, tuple(kept.values()), tuple(dict.fromkeys(edge for edge in edges if edge.tail in kept and edge.head in kept)))


def dot(parts: Iterable[Part]) -> str:
    """The text of the graph."""
    lines = ["digraph kvmontap {", '    rankdir=LR; compound=true; fontname="sans-serif"; nodesep=0.25; ranksep=0.6;',
             '    node [fontname="sans-serif", fontsize=11]; edge [fontname="sans-serif", fontsize=9, color="#606060"];']
    for number, part in enumerate(parts):
        lines += [f"    subgraph cluster_{number} {{", f'        label={quoted(part.title)}; color="#a0a0a0";']
        lines += [f"        {quoted(f'{number}:{node.id}')} [{_STYLES[node.kind]}, label={quoted(node.label)}];" for node in part.nodes]
        for edge in part.edges:
            more = [f"label={quoted(edge.label)}"] if edge.label else []
            more += ["style=dashed"] if edge.dashed else []
            attributes = f" [{', '.join(more)}]" if more else ""
            lines.append(f"        {quoted(f'{number}:{edge.tail}')} -> {quoted(f'{number}:{edge.head}')}{attributes};")
        lines.append("    }")
    return "\n".join([*lines, "}", ""])


def quoted(text: str) -> str:
    """`text` as a string of DOT; line ends stay, a backslash is one."""
    plain: List[str] = [char if char.isprintable() or char == "\n" else "?" for char in text]
    return '"' + "".join(plain).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
