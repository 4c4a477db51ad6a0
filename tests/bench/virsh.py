"""What the hook adds to `virsh start` on a real libvirtd, beside a hook of one line and beside none."""

from pathlib import Path
from typing import List

from tests.bench.measure import Figure, figure, seconds
from tests.libvirt.kvmhost import CONF, HOOK, KvmHost

PAIRS = 9
POOL = "[pools]\n[[p1]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /p1\n[gate]\nmode = warn\n[snapshots]\nbefore = none\n"
ONE_LINE = "#!/bin/sh\nexit 0\n"


def start_of_a_vm(work: Path) -> List[Figure]:
    """The hook is exchanged between two starts of the same VM: libvirt looks at the directory at each call."""
    with KvmHost(work / "kvm01", work / "shared") as host:
        host.put(CONF, POOL)
        ours = host.path(HOOK).read_text()
        host.path("/etc/libvirt/hooks/qemu.d/10-recorder").unlink()
        host.run("python3", "-m", "compileall", "-q", "/usr/lib/python3/dist-packages/kvmontap")
        host.start_libvirt()
        host.start_daemon()
        host.define("vm", host.image("/mnt/p1/vm.img"))

        def spent(hook: str) -> float:
            host.put(HOOK, hook, 0o755 if hook else 0o644)  # what is not executable is not run
            found = seconds(host.inside("virsh", "-q", "-c", host.uri, "start", "vm"))
            host.virsh("destroy", "vm")
            return found

        spent(ours), spent(ONE_LINE), spent("")
        rounds = [(spent(ours), spent(ONE_LINE), spent("")) for _ in range(PAIRS)]
        told = host.log()
    assert told.count("[mount.missing]") >= PAIRS, told
    return [
        figure("virsh start, our hook / a hook of one line", [our / line for our, line, _ in rounds], "x", 1.5),
        figure("virsh start, our hook / no hook", [our / none for our, _, none in rounds], "x"),
        figure("virsh start, what our hook adds", [1000 * (our - none) for our, _, none in rounds], "ms"),
    ]
