"""LUNs, namespaces, and who may see them: igroups and subsystems with their maps.

A map or its end runs the array's `export` command, which in the lab has LIO or nvmet show the image and take it away:
    export... map KIND IMAGE IDENTITY ACCESS INITIATOR...    KIND lun or namespace; IDENTITY a LUN's serial number or a namespace's UUID;
    export... unmap KIND IMAGE IDENTITY ACCESS               ACCESS an igroup's name or a subsystem's NQN
"""

from __future__ import annotations

import os
import secrets
import string
import subprocess
import uuid
from dataclasses import dataclass, field
from typing import Any, Optional

from .exchange import ApiError

LUN, NAMESPACE = "lun", "namespace"
IGROUP, SUBSYSTEM = "igroup", "subsystem"
_SERIAL = string.ascii_letters + string.digits
_SECONDS = 60


@dataclass
class Block:
    """A LUN or a namespace: a file of its volume, shown to those that it is mapped to."""

    kind: str
    name: str  # /vol/VOLUME/FILE
    volume: Any
    uuid: str
    serial: str = ""
    size: int = 0
    state: str = "online"

    @property
    def inside(self) -> str:
        return self.name.split("/", 3)[3]

    @property
    def image(self) -> str:
        return os.path.join(getattr(self.volume.backend, "root", ""), self.inside)

    @property
    def identity(self) -> str:
        return self.serial if self.kind == LUN else self.uuid


@dataclass
class Access:
    """An igroup or a subsystem."""

    kind: str
    name: str
    svm: Any
    uuid: str
    protocol: str = "mixed"
    os_type: str = "linux"
    hosts: list = field(default_factory=list)
    nqn: str = ""
    mapped: dict = field(default_factory=dict)  # block's uuid -> number

    @property
    def title(self) -> str:
        return self.nqn or self.name


class San:
    """All of one array; everything under the state's lock but the command."""

    def __init__(self, export: tuple = ()):
        self.export = tuple(export)
        self.blocks: dict = {}
        self.accesses: dict = {}

    def add_block(self, kind: str, volume: Any, name: str, uuid_: Optional[str] = None, serial: str = "", size: int = 0) -> Block:
        if not name.startswith(f"/vol/{volume.name}/"):
            name = f"/vol/{volume.name}/{name}"
        if kind == LUN and not serial:
            serial = "".join(secrets.choice(_SERIAL) for _ in range(12))
        made = Block(kind, name, volume, uuid_ or str(uuid.uuid4()), serial, size)
        self.blocks[made.uuid] = made
        return made

    def add_access(self, kind: str, svm: Any, name: str, hosts: list, **more: Any) -> Access:
        made = Access(kind, name, svm, str(uuid.uuid4()), hosts=list(hosts), **more)
        if kind == SUBSYSTEM and not made.nqn:
            made.nqn = f"nqn.1992-08.com.netapp:sn.{svm.uuid.replace('-', '')}:subsystem.{name}"
        self.accesses[made.uuid] = made
        return made

    def of(self, volume: Any) -> list:
        return [block for block in self.blocks.values() if block.volume is volume]

    def cloned(self, parent: Any, clone: Any) -> None:
        """A FlexClone has the LUNs of its parent, each with an identity of its own and mapped to nobody."""
        for block in self.of(parent):
            self.add_block(block.kind, clone, block.inside, size=block.size)

    def accesses_of(self, block: Block) -> list:
        return [access for access in self.accesses.values() if block.uuid in access.mapped]

    def map(self, access: Access, block: Block, number: Optional[int] = None) -> None:
        self._run("map", block, access, *access.hosts)
        taken = set(access.mapped.values())
        access.mapped[block.uuid] = number if number is not None else next(n for n in range(4096) if n not in taken)

    def unmap(self, access: Access, block: Block) -> None:
        if block.uuid in access.mapped:
            self._run("unmap", block, access)
            del access.mapped[block.uuid]

    def forget(self, volume: Any) -> None:
        """The volume goes, and what is in it."""
        for block in self.of(volume):
            for access in self.accesses_of(block):
                self.unmap(access, block)
            del self.blocks[block.uuid]

    def _run(self, doing: str, block: Block, access: Access, *hosts: str) -> None:
        if not self.export:
            return
        words = [*self.export, doing, block.kind, block.image, block.identity, access.title, *hosts]
        try:
            ended = subprocess.run(words, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ApiError(500, "1", f"export: {error}") from None
        if ended.returncode:
            raise ApiError(500, "1", f"export {doing}: {' '.join((ended.stderr or ended.stdout).split())[:300]}")
