"""What the generator has written and what is mounted on a host.  An edge: reads files only, and touches no mount."""

import os
from typing import Dict, NamedTuple, Optional, Tuple

from kvmontap.config.onhost import under
from kvmontap.host import mountinfo
from kvmontap.units.mount import HEADER

DIRECTORY = "/run/systemd/generator"  # the first of a generator's three, the only one that ours writes into
_LARGEST = 1 << 20  # bytes of a unit file that can be one of ours


class Running(NamedTuple):
    """The generator's last work, and the mounts."""

    files: Dict[str, str]  # relative path -> text, those that carry our header
    links: Dict[str, str]  # relative path -> target, every link beside them
    mounts: Optional[Tuple[mountinfo.Mount, ...]]  # None where proc is not there: another host's files


def read(root: str = "/") -> Running:
    """What is there on the host whose root is `root`."""
    files, links = _units(under(root, DIRECTORY))
    try:
        mounts: Optional[Tuple[mountinfo.Mount, ...]] = mountinfo.read(root)
    except OSError:
        mounts = None
    return Running(files, links, mounts)


def _units(directory: str) -> Tuple[Dict[str, str], Dict[str, str]]:
    files: Dict[str, str] = {}
    links: Dict[str, str] = {}
    for base, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            try:
                if os.path.islink(path):
                    links[relative] = os.readlink(path)
                    continue
                with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                    text = stream.read(_LARGEST)
            except OSError:
                continue  # gone meanwhile
            if text.startswith(HEADER):
                files[relative] = text
    return files, links
