"""What a libvirt domain's XML says about host storage; also libvirt's storage pool XML and images' backing chains.

`parse` is on the path of the hook without a daemon: this file imports expat, the records and no more.
"""

from kvmontap.domain import sources, tree
from kvmontap.model import Domain


class DomainError(ValueError):
    """The XML cannot be used; the text is one clause that follows "the domain XML of NAME cannot be read: "."""


def parse(xml: bytes) -> Domain:
    """The domain in `xml` as libvirt hands it to a hook, with every piece of host storage that it names.

    Sources come in the order of the document, each storage once.  Nothing else of the document is kept.  Raises
    DomainError for bytes that are not one <domain>, are too large or too deep, or carry a document type.
    """
    try:
        root = tree.read(xml, sources.SHAPE)
    except tree.XmlError as error:
        raise DomainError(str(error)) from None
    name = root.first("name")
    if name is None or not name.text:
        raise DomainError("it names no domain")
    uuid = root.first("uuid")
    return Domain(name.text, uuid.text if uuid is not None else "", sources.named_in(root))
