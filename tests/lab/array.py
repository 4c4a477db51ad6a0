"""The array of the lab: the pocket array inside the storage VM, on real btrfs subvolumes.

It answers at https://10.9.0.10 for the hosts; its control interface comes to this machine through a
forwarded port that no link switch touches.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, Optional

from tests.pocket_array.remote import Remote

from .vm import VM, LabError

ADDRESS = "10.9.0.10"
SVM = "svm_kvm"
USER = "kvmontap"
PASSWORD = "lab-Password-1"
VOLUMES = ("kvmnfs01", "kvmnfs02", "kvmsmb01")
SMB_USER, SMB_PASSWORD = "kvmontap", "lab-secret"
CONTROL_PORT = 8443
_STATE = "/etc/lab-array.json"
_HOME = "/var/lib/lab-array"
_SNAPSHOTS = "/srv/array/snapshots"
_POCKET = Path(__file__).resolve().parent.parent / "pocket_array"


def description(blocks: tuple[str, ...] = (), san: Optional[dict[str, Any]] = None) -> dict[str, Any]:
    """The state file that the pocket array starts from; `blocks` are volumes that hold what `san` (luns, namespaces, ...) describes."""
    return {
        "cluster": {"name": "lab"},
        "svms": [{"name": SVM}],
        "users": [{"name": USER, "password": PASSWORD, "role": "admin"}],
        "volumes": [{
            "name": name, "svm": SVM,
            **({} if name in blocks else {
                "path": f"/{name}", "hook": ["/usr/local/sbin/lab-storage", "volume"]}),
            "backend": {"kind": "btrfs", "subvolume": f"/srv/array/{name}",
                        "snapshots": f"{_SNAPSHOTS}/{name}"},
        } for name in VOLUMES + blocks],
        "lifs": [{"name": "lif_a", "svm": SVM, "address": "10.9.1.10"},
                 {"name": "lif_b", "svm": SVM, "address": "10.9.2.10"}],
        "shares": [{"name": "kvmsmb01", "svm": SVM, "path": "/kvmsmb01"}],
        **(san or {}),
    }


class Array:
    """The running array; `control` is the pocket array's own remote control."""

    def __init__(self, storage: VM, blocks: tuple[str, ...] = (), san: Optional[dict[str, Any]] = None) -> None:
        self._storage = storage
        self._described = description(blocks, san)
        self.ca = b""
        self.control: Remote

    def start(self) -> "Array":
        """Bring the program into the storage VM and start it; returns when it answers."""
        self._storage.put(_archive(), "/opt/lab/pocket.tar")
        self._storage.put(json.dumps(self._described), _STATE, mode=0o600)
        self._storage.run(
            "systemctl is-active -q lab-storage || systemctl start lab-storage; "
            "cd /opt/lab && tar -xf pocket.tar && systemctl start lab-array", timeout=300)
        self._storage.wait_for("test -e /run/lab-array.json", 180, "the array listens")
        self.attach()
        return self

    def attach(self) -> None:
        """Find the control interface again, after a resume too."""
        said = self._storage.run(f"cat {_HOME}/token; cat {_HOME}/ca.pem").out
        token, _, ca = said.partition("\n")
        self.ca = ca.encode()
        here = self._storage.directory / "array-ca.pem"
        here.write_bytes(self.ca)
        port = self._storage.forwarded[CONTROL_PORT]
        self.control = Remote(f"https://127.0.0.1:{port}", token, str(here), seconds=60)

    def set_volume(self, name: str, **values: Any) -> None:
        """Change a volume; state="offline" withdraws its export or share, "online" brings it back."""
        self.control.change(volumes={name: values})

    def snapshots(self, volume: str) -> list[str]:
        """Names of the real btrfs snapshots of a volume, oldest first."""
        listed = self._storage.run(f"btrfs subvolume list -s --sort=ogen {_SNAPSHOTS}", check=False).out
        names = []
        for line in listed.splitlines():
            path = Path(line.rpartition(" path ")[2])
            if path.parent.name == volume:
                names.append(path.name)
        return names

    def posted(self, since: int = 0) -> int:
        """How many snapshots the hosts asked for."""
        return sum(1 for one in self.control.requests(since)
                   if one.get("method") == "POST" and "/snapshots" in one.get("path", ""))

    def silent(self) -> None:
        """The management interface takes connections and never answers; `reset` ends it."""
        self.control.add_fault("silent", path="/api/*")

    def reset(self) -> None:
        """No fault is set any more, every volume and LIF is as described."""
        self.control.clear_faults()
        self.control.listener("listening")
        self.control.change(volumes={name: {"state": "online", "used": None} for name in VOLUMES},
                            lifs={name: {"state": "up"} for name in ("lif_a", "lif_b")})


def _archive() -> bytes:
    """tests/pocket_array as a tar file, importable as tests.pocket_array."""
    if not _POCKET.is_dir():
        raise LabError(f"there is no pocket array at {_POCKET}")
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        package = tarfile.TarInfo("tests/__init__.py")
        archive.addfile(package, io.BytesIO())
        archive.add(_POCKET, "tests/pocket_array",
                    filter=lambda one: None if "__pycache__" in one.name else one)
    return target.getvalue()
