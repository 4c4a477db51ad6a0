"""What the checks of a host need to know of it, read below a root; only `systemctl is-enabled` is run.  An edge."""

import glob
import os
import re
import socket
import subprocess
from typing import Dict, FrozenSet, Iterable, NamedTuple, Tuple

from kvmontap.doctor import needs
from kvmontap.host import identity, mountinfo
from kvmontap.model import Config

TEXTS = ("etc/os-release", "usr/lib/os-release", "etc/multipath.conf", "etc/iscsi/iscsid.conf", "etc/tlshd.conf", "etc/tlshd/config",
         "etc/default/libvirt-guests", "etc/sysconfig/libvirt-guests", "etc/conf.d/libvirt-guests", "etc/hostname")
_SECONDS = 20


class Host(NamedTuple):
    """One host, as far as the checks ask."""

    family: str  # needs.DEBIAN, ...
    name: str  # PRETTY_NAME of os-release
    hostname: str
    live: bool  # False: another host's files, nothing runs here
    present: FrozenSet[str]  # of the paths that the tables name
    modules: FrozenSet[str]  # that the kernel has or can load, with _ for -
    kernel: str  # release, "" where it is not known
    units: Dict[str, str]  # unit -> what `systemctl is-enabled` says
    texts: Dict[str, str]  # path -> what the file says, "" where it is not there
    values: Dict[str, str]  # path below sys/ or proc/ -> first line
    identity: identity.Identity
    mounts: Tuple[mountinfo.Mount, ...]


def read(root: str, config: Config) -> Host:
    """The host whose root is `root`."""
    texts = {path: _text(root, path) for path in TEXTS}
    multipath = [_text(root, os.path.relpath(path, root)) for path in sorted(glob.glob(os.path.join(root, "etc/multipath/conf.d/*.conf")))]
    texts["etc/multipath/conf.d"] = "\n".join(multipath)
    release = _release(texts["etc/os-release"] or texts["usr/lib/os-release"])
    live = os.path.realpath(root) == "/"
    kernel = os.uname().release if live else _kernel(root)
    wanted = {path for program in needs.PROGRAMS for path in program.paths}
    wanted |= {"etc/krb5.keytab", "etc/multipath.conf", "usr/lib/udev/rules.d/71-nvmf-netapp.rules",
               "lib/udev/rules.d/71-nvmf-netapp.rules",
               "etc/udev/rules.d/71-nvmf-netapp.rules"}
    units = {unit for _, names in needs.SERVICES for unit in names} | set(needs.CLOCKS) | {needs.GUESTS}
    try:
        mounts = mountinfo.read(root)
    except OSError:
        mounts = ()
    return Host(
        _family(release), release.get("PRETTY_NAME", "an unknown distribution"),
        socket.gethostname() if live else texts["etc/hostname"].strip(), live,
        frozenset(path for path in wanted if os.path.exists(os.path.join(root, path))), _modules(root, kernel, live), kernel,
        _enabled(root, sorted(units)), texts, _values(root, config) if live else {}, identity.read(root), mounts,
    )


def _release(text: str) -> Dict[str, str]:
    pairs = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def _family(release: Dict[str, str]) -> str:
    """The family whose names of packages count; Debian's where nothing is known."""
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    if names[0] != needs.FEDORA and ({"rhel", "centos"} & set(names)):
        return needs.RHEL
    return next((name for name in names if name in needs.INSTALL), needs.DEBIAN)


def _kernel(root: str) -> str:
    try:
        return sorted(os.listdir(os.path.join(root, "lib/modules")))[-1]
    except (OSError, IndexError):
        return ""


def _modules(root: str, kernel: str, live: bool) -> FrozenSet[str]:
    found = set()
    for name in ("modules.dep", "modules.builtin"):
        for line in _text(root, f"lib/modules/{kernel}/{name}", 16 << 20).splitlines() if kernel else ():
            found.add(line.partition(":")[0].rpartition("/")[2].partition(".ko")[0].replace("-", "_"))
    if live:
        try:
            found.update(os.listdir(os.path.join(root, "sys/module")))
        except OSError:
            pass
    return frozenset(found)


def _enabled(root: str, units: Iterable[str]) -> Dict[str, str]:
    """{unit: state}; each is asked by itself, since older ones give up at the first that is not there."""
    argv = ["systemctl", *(() if os.path.realpath(root) == "/" else (f"--root={root}",)), "is-enabled"]
    found = {}
    for unit in units:
        try:
            done = subprocess.run([*argv, unit], capture_output=True, text=True, timeout=_SECONDS, check=False,
                                  env={**os.environ, "LC_ALL": "C"})
        except (OSError, subprocess.SubprocessError):
            return {}
        found[unit] = done.stdout.strip() or "not-found"
    return found


def _values(root: str, config: Config) -> Dict[str, str]:
    patterns = ["sys/module/nvme_core/parameters/multipath", "sys/class/nvme-subsystem/*/model", "sys/class/nvme-subsystem/*/iopolicy",
                "sys/class/nvme/*/model", "sys/class/nvme/*/transport", "sys/class/nvme/*/ctrl_loss_tmo", "proc/sys/kernel/panic",
                "proc/sys/kernel/panic_on_oops"]
    patterns += [f"sys/kernel/config/cluster/{name}/heartbeat/dead_threshold" for name in config.clusters]
    found = {}
    for pattern in patterns:
        for path in glob.glob(os.path.join(root, pattern)):
            found[os.path.relpath(path, root)] = _text(root, os.path.relpath(path, root)).strip()
    return found


def _text(root: str, path: str, most: int = 1 << 20) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read(most)
    except OSError:
        return ""
