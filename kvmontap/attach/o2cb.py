"""The o2cb cluster that OCFS2 file systems share: stack loaded, described, registered, timed, and really online.

The distribution's o2cb.service exits 0 with the cluster offline, so it is neither used nor believed.  A cluster that somebody else
has brought online is used as it is and left online.
"""

import errno
import os
import socket
import time
from typing import Callable, Tuple

from kvmontap.attach import clusterconf, ledger
from kvmontap.attach.call import AttachError, call, say
from kvmontap.model import Cluster

KIND = "o2cb"
CONF = "/etc/ocfs2/cluster.conf"
O2CB = "/usr/sbin/o2cb"
STACK = "/sys/fs/ocfs2/cluster_stack"
CONFIGFS = "/sys/kernel/config/cluster"
MODULES = ("ocfs2_stack_o2cb", "ocfs2_dlmfs", "ocfs2")
SECONDS = 30.0
LEFT = 10.0  # seconds for the heartbeat of a file system that has just been unmounted to end


def start(cluster: Cluster) -> None:
    """The cluster is online afterwards, or AttachError says why not."""
    if cluster.stack != "o2cb":
        raise AttachError(f"cluster {cluster.name} has stack = {cluster.stack}, which is brought up by corosync and dlm, not here")
    if not os.path.exists(O2CB):
        raise AttachError("o2cb is not installed; install ocfs2-tools")
    node = local_node(cluster, os.uname().nodename, here)
    _load()
    with ledger.opened(KIND) as book:
        made = not os.path.isdir(f"{CONFIGFS}/{cluster.name}")
        if made:
            _describe(cluster)
            _register(cluster)
        book.use(cluster.name, cluster.name, made)
    _online(cluster, node)


def stop(name: str) -> None:
    """Take the cluster offline if we brought it online; AttachError where a file system still beats in it."""
    with ledger.opened(KIND) as book:
        if name not in book.only(name):
            return
        deadline = time.monotonic() + LEFT
        while _regions(name) and clusterconf.heartbeat_mode(_text(CONF), name) != "global":
            if time.monotonic() >= deadline:
                raise AttachError(f"cluster {name} stays online, because a file system of it is still mounted; unmount it first")
            time.sleep(0.1)
        if clusterconf.heartbeat_mode(_text(CONF), name) == "global":
            call((O2CB, "stop-heartbeat", name), SECONDS)
        done = call((O2CB, "unregister-cluster", name), SECONDS)
        if os.path.isdir(f"{CONFIGFS}/{name}"):
            raise AttachError(f"cluster {name} cannot be taken offline: {done.why}")
        book.release(name, [name])


def local_node(cluster: Cluster, hostname: str, is_here: Callable[[str], bool]) -> str:
    """The node that this host is; o2cb goes by the host's name, with or without its domain, and the others call it at its address.

    `is_here` tells whether an address is one of this host's."""
    names = [node.name for node in cluster.nodes]
    for node in cluster.nodes:
        if node.name in (hostname, hostname.partition(".")[0]):
            if not is_here(node.address):
                raise AttachError(f"node {node.name} of cluster {cluster.name} has the address {node.address}, which no interface of this "
                                  "host has; correct it in [[[nodes]]]")
            return node.name
    ours = next((node.name for node in cluster.nodes if is_here(node.address)), "")
    if ours:
        raise AttachError(f"this host is {hostname}, but the node with its address in cluster {cluster.name} is {ours}; o2cb knows a node "
                          "by its host's name, so name it so in [[[nodes]]]")
    raise AttachError(f"this host is {hostname}, which is no node of cluster {cluster.name} ({', '.join(names)}); add it to [[[nodes]]]")


def here(address: str) -> bool:
    """Whether an interface of this host has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _load() -> None:
    for module in MODULES:
        done = call(("/usr/sbin/modprobe", module), SECONDS)
        if done.code:
            raise AttachError(f"the kernel module {module} cannot be loaded ({done.why}); install a kernel that has OCFS2")
    if not os.path.isdir(os.path.dirname(CONFIGFS)):
        raise AttachError("/sys/kernel/config is not there; run: systemctl start sys-kernel-config.mount")
    if _text(STACK).strip() != "o2cb":
        try:
            with open(STACK, "w", encoding="ascii") as stream:
                stream.write("o2cb\n")
        except OSError as error:
            raise AttachError(f"OCFS2 uses the cluster stack {_text(STACK).strip()} here and cannot change to o2cb ({error.strerror}); "
                              "unmount the OCFS2 file systems of that stack first") from None


def _describe(cluster: Cluster) -> None:
    """cluster.conf names the cluster as it is configured."""
    before = _text(CONF)
    after = clusterconf.merged(before, cluster)
    if after == before:
        return
    try:
        os.makedirs(os.path.dirname(CONF), mode=0o755, exist_ok=True)
        temporary = f"{CONF}.{os.urandom(6).hex()}"
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(after)
            os.fchmod(stream.fileno(), 0o644)
        os.rename(temporary, CONF)
    except OSError as error:
        raise AttachError(f"{CONF} cannot be written: {error.strerror}") from None


def _register(cluster: Cluster) -> None:
    done = call((O2CB, "register-cluster", cluster.name), SECONDS)
    if not os.path.isdir(f"{CONFIGFS}/{cluster.name}"):
        raise AttachError(f"cluster {cluster.name} cannot be brought online: {done.why}")
    # Only before any file system beats: a node that counts otherwise than the others would be fenced, or fence them.
    _set(f"{CONFIGFS}/{cluster.name}/heartbeat/dead_threshold", cluster.heartbeat_threshold)
    if clusterconf.heartbeat_mode(_text(CONF), cluster.name) == "global":
        done = call((O2CB, "start-heartbeat", cluster.name), SECONDS)
        if done.code:
            raise AttachError(f"the global heartbeat of cluster {cluster.name} cannot be started: {done.why}")


def _set(path: str, value: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(f"{value}\n")
    except OSError as error:
        raise AttachError(f"{path} cannot be set to {value}: {error.strerror}") from None


def _online(cluster: Cluster, node: str) -> None:
    """AttachError unless the kernel itself says that this host is a node of the cluster as it is configured."""
    base = f"{CONFIGFS}/{cluster.name}"
    if _text(f"{base}/node/{node}/local").strip() != "1":
        raise AttachError(f"cluster {cluster.name} is registered, but not with {node} as this host; run: "
                          f"o2cb unregister-cluster {cluster.name}, and start again")
    for wanted in cluster.nodes:
        there = tuple(_text(f"{base}/node/{wanted.name}/{key}").strip() for key in ("num", "ipv4_address", "ipv4_port"))
        if there != (str(wanted.number), wanted.address, str(wanted.port)):
            raise AttachError(f"cluster {cluster.name} is online with another node {wanted.name} ({_shown(there)}) than the configuration "
                              "has; unmount its file systems and restart its kvmontap-o2cb@ unit, or correct [[[nodes]]]")
    threshold = _text(f"{base}/heartbeat/dead_threshold").strip()
    if threshold != str(cluster.heartbeat_threshold):
        say(f"cluster {cluster.name} is online with heartbeat-threshold {threshold}, not {cluster.heartbeat_threshold}; it changes when "
            "the cluster goes offline and online again")


def _shown(there: Tuple[str, ...]) -> str:
    return ", ".join(filter(None, there)) or "none"


def _regions(name: str) -> Tuple[str, ...]:
    """The heartbeat regions of mounted file systems: directories beside the settings."""
    base = f"{CONFIGFS}/{name}/heartbeat"
    try:
        return tuple(one for one in sorted(os.listdir(base)) if os.path.isdir(os.path.join(base, one)))
    except OSError:
        return ()


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(1 << 20)
    except OSError:
        return ""
