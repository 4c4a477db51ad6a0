"""XML (bytes) to a small tree of the elements that the caller names, everything else dropped while it is read.

Uses expat itself: no other parser of the standard library is as cheap to import, and expat's own events let us refuse
what libvirt never writes (document types, and with them every entity) before it can cost anything.  Only named
elements, attributes and texts are ever stored, so a password that the XML carries (`migrate` XML does) is never kept.
Imports nothing of ours; safe on the hook's path.
"""

from typing import Dict, FrozenSet, List, NamedTuple, Optional, Tuple
from xml.parsers import expat

LARGEST = 8 * 1024 * 1024  # bytes; libvirt's own limit for one string on the wire is 4 MiB
DEEPEST = 512  # elements; libvirt allows backing chains of 200 images, one element below the other


class XmlError(ValueError):
    """The bytes are not XML that we read; the text says why in one clause, without any of the content."""


class Shape(NamedTuple):
    """What of a document is worth keeping."""

    roots: FrozenSet[str]
    elements: FrozenSet[str]  # an element that is not named here is dropped with all that it holds
    attributes: FrozenSet[str]
    texts: FrozenSet[str]  # elements whose character data is kept


class Node:
    """One kept element; `text` is stripped of white space around it."""

    __slots__ = ("tag", "attributes", "children", "text")

    def __init__(self, tag: str, attributes: Dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: List["Node"] = []
        self.text = ""

    def get(self, name: str, default: str = "") -> str:
        """The attribute, or `default` where it is absent or empty."""
        return self.attributes.get(name) or default

    def all(self, tag: str) -> Tuple["Node", ...]:
        return tuple(child for child in self.children if child.tag == tag)

    def first(self, *tags: str) -> Optional["Node"]:
        """The element reached by taking the first child of each tag in turn, None where the way ends."""
        node: Optional[Node] = self
        for tag in tags:
            node = next((child for child in node.children if child.tag == tag), None)
            if node is None:
                return None
        return node


def read(xml: bytes, shape: Shape) -> Node:
    """The root element of `xml` with all that `shape` keeps of it; raises XmlError."""
    if len(xml) > LARGEST:
        raise XmlError(f"it is larger than {LARGEST // 1024 // 1024} MiB")
    builder = _Builder(shape)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.ExternalEntityRefHandler = _refuse_doctype
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        said = expat.ErrorString(error.code)
        raise XmlError(f"it is not well-formed XML ({said}, line {error.lineno})") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, XmlError):
            raise
        raise XmlError("its encoding is not one that libvirt writes") from None
    return builder.root


def _refuse_doctype(*_: object) -> int:
    raise XmlError("it carries a document type declaration, which libvirt never writes")


class _Builder:
    """expat's handlers."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.root = Node("", {})
        self.open: List[Node] = []
        self.dropped = 0  # depth inside an element that is not kept
        self.texts: List[str] = []

    def start(self, tag: str, attributes: Dict[str, str]) -> None:
        if self.dropped + len(self.open) >= DEEPEST:
            raise XmlError(f"its elements are nested more than {DEEPEST} deep")
        if self.dropped:
            self.dropped += 1
            return
        if not self.open:
            if tag not in self.shape.roots:
                wanted = " or ".join(sorted(f"<{root}>" for root in self.shape.roots))
                raise XmlError(f"it does not start with {wanted}")
        elif tag not in self.shape.elements:
            self.dropped = 1
            return
        kept = self.shape.attributes
        node = Node(tag, {name: value for name, value in attributes.items() if name in kept})
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)
        self.texts.clear()

    def end(self, tag: str) -> None:
        if self.dropped:
            self.dropped -= 1
            return
        node = self.open.pop()
        if tag in self.shape.texts:
            node.text = "".join(self.texts).strip()
        self.texts.clear()

    def characters(self, text: str) -> None:
        if not self.dropped and self.open[-1].tag in self.shape.texts:
            self.texts.append(text)
