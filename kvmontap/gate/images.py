"""The images behind a VM's images, and which of them may be opened at all.  An edge: mountinfo, libvirt's pool files, qemu-img."""

from typing import Callable, Tuple

from kvmontap.command import Commands
from kvmontap.domain import chain, pooldefs
from kvmontap.host import mountinfo
from kvmontap.host.match import hangs_with, links, real
from kvmontap.model import Source

_LINKS = 40  # as many as the kernel follows in one lookup


class Images:
    """Asks qemu-img, under the rules of kvmontap.command."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def behind(self, source: Source, deadline: float, may_open: Callable[[str], bool]) -> chain.Chain:
        """What lies beneath the image `source`; an image beneath is opened only where `may_open(path)` says so."""
        path = place(source)
        if not path or not chain.wanted(source):
            return chain.Chain(())
        return chain.backing(
            path, deadline, source.format, source.what, commands=self._commands, key=hangs_with, may_open=may_open
        )


def place(source: Source) -> str:
    """The path that libvirt opens for a source, "" where it is none or does not follow from libvirt's files."""
    if source.kind != "volume":
        return source.path if source.path.startswith("/") else ""
    pool = pooldefs.read().get(source.pool)
    return pooldefs.volume_path(pool, source.volume) if pool is not None else ""


def on_this_host(path: str) -> bool:
    """Whether `path` lies on a disk of this host's own, so that opening it waits for no server."""
    try:
        mounts = mountinfo.read()
    except OSError:
        return False
    readlink = links(mounts)
    away: Tuple[str, ...] = mountinfo.remote(mounts)
    for _ in range(_LINKS):
        path = real(path, readlink)
        if any(mountinfo.is_below(path, top) for top in away):
            return False
        pointed = readlink(path)
        if not pointed:
            return True
        path = pointed if pointed.startswith("/") else path.rpartition("/")[0] + "/" + pointed
    return False
