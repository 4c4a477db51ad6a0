"""The checks of a host: from what `look` has read to advice.  Pure."""

import re
from typing import Callable, Dict, Iterator, List, Tuple

from kvmontap.doctor import needs
from kvmontap.doctor.advice import Advice
from kvmontap.doctor.look import Host
from kvmontap.host.identity import wanted
from kvmontap.model import FC, ISCSI, NFS, NVME, Config, Pool
from kvmontap.units.bundle import mounted

HOST = "host"
THRESHOLD = 61  # o2cb heartbeats, of two seconds each: what multipath needs to change paths
_GUESTS = ("etc/default/libvirt-guests", "etc/sysconfig/libvirt-guests", "etc/conf.d/libvirt-guests")
_LEAST = 300  # seconds for VMs to shut down: libvirt-guests' own default
_ONTAP = "netapp ontap"  # as the kernel shows the model of a controller, in lower case
_RULES = "usr/lib/udev/rules.d/71-nvmf-netapp.rules"


def advice(host: Host, config: Config) -> Tuple[Advice, ...]:
    """Everything that a host lacks for the pools of `config`, the gravest of each kind first."""
    pools = list(config.pools.values())
    found = [one for check in CHECKS for one in check(host, config, pools)]
    return tuple(found)


def _names(pools: List[Pool], applies: Callable[[Pool], bool]) -> Tuple[str, ...]:
    return tuple(pool.name for pool in pools if applies(pool))


def programs(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    for program in needs.PROGRAMS:
        names = _names(pools, program.wanted)
        if names and not host.present.intersection(program.paths):
            package = program.package(host.family)
            yield Advice(HOST, "package", f"{program.what} needs {program.paths[0].rpartition('/')[2]} of the package {package}",
                         f"{needs.INSTALL[host.family]} {package}", names)


def modules(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    if not host.modules:
        return  # a container, or an image without a kernel
    missing: Dict[str, Tuple[str, ...]] = {}
    for module in needs.MODULES:
        names = _names(pools, module.wanted)
        for name in module.names if names else ():
            if name not in host.modules:
                missing[name] = tuple(dict.fromkeys(missing.get(name, ()) + names))
    for name, names in missing.items():
        yield Advice(HOST, "module", f"the kernel {host.kernel} has no module {name}", needs.KERNELS[host.family], names)


def services(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    for applies, units in needs.SERVICES:
        names = _names(pools, applies)
        for unit in units if names else ():
            if host.units.get(unit) in ("masked", "masked-runtime"):
                yield Advice(HOST, "service.masked", f"{unit} is masked", f"systemctl unmask {unit}", names)
    if host.units and pools:
        if host.units.get(needs.GUESTS) not in ("enabled", "enabled-runtime", "static", "not-found"):
            yield Advice(HOST, "service.guests", f"{needs.GUESTS} is {host.units[needs.GUESTS]}", f"systemctl enable --now {needs.GUESTS}")
        if not any(host.units.get(unit, "").startswith("enabled") for unit in needs.CLOCKS):
            package = {needs.DEBIAN: "systemd-timesyncd"}.get(host.family, "chrony")
            yield Advice(HOST, "service.clock", "nothing keeps this host's clock right",
                         f"{needs.INSTALL[host.family]} {package}" + ("" if package != "chrony" else "; systemctl enable --now chronyd"))


def guests_timeout(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    for path in _GUESTS:
        found = re.search(r"^\s*SHUTDOWN_TIMEOUT\s*=\s*[\"']?([0-9]+)", host.texts.get(path, ""), re.MULTILINE)
        seconds = int(found.group(1)) if found else _LEAST
        if pools and 0 < seconds < _LEAST:
            yield Advice(HOST, "guests.timeout", f"VMs have {seconds} s to shut down (/{path})",
                         f"write SHUTDOWN_TIMEOUT={_LEAST} into /{path}")


def identities(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    needed = wanted(tuple(pool.protocol for pool in pools))
    kinds = {"iqn": (ISCSI,), "wwpn": (FC, "nvme-fc"), "nqn": NVME}
    for kind, why in host.identity.missing:
        if kind in needed and (host.live or kind != "wwpn"):
            text, _, fix = why.partition("; ")
            names = _names(pools, needs.protocol(*kinds[kind]))
            yield Advice(HOST, "identity", text, fix.replace("run: ", "") or "kvmontap host-id", names)


def secured(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    names = _names(pools, lambda pool: pool.security != "sys")
    if names and "etc/krb5.keytab" not in host.present:
        yield Advice(HOST, "keytab", "/etc/krb5.keytab is not there",
                     "have the key of nfs/HOSTNAME or host/HOSTNAME put there (realm join, "
                     "net ads keytab create, or ktutil)", names)
    names = _names(pools, lambda pool: pool.tls != "no")
    text = host.texts.get("etc/tlshd.conf", "") + host.texts.get("etc/tlshd/config", "")
    if names and not re.search(r"^\s*x509\.truststore\s*=", text, re.MULTILINE):
        yield Advice(HOST, "tlshd.trust", "/etc/tlshd.conf names no x509.truststore",
                     "write x509.truststore=FILE.pem into its section [authenticate.client]; systemctl restart tlshd", names)


def multipath(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    names = _names(pools, needs.protocol(ISCSI, FC))
    if not names:
        return
    if host.family in (needs.RHEL, needs.FEDORA) and "etc/multipath.conf" not in host.present:
        yield Advice(HOST, "multipath.conf", "/etc/multipath.conf is not there",
                     "touch /etc/multipath.conf; systemctl enable --now multipathd",
                     names)
    text = host.texts.get("etc/multipath.conf", "") + "\n" + host.texts.get("etc/multipath/conf.d", "")
    for key, value in settings(text):
        good = needs.MULTIPATH.get(key)
        if good is not None and value not in good:
            yield Advice(HOST, "multipath.value", f"multipath.conf sets {key} to {value}, ONTAP's own is {good[0]}",
                         f"take {key} out of /etc/multipath.conf and its conf.d; systemctl reload multipathd", names)


def settings(text: str) -> Iterator[Tuple[str, str]]:
    """(key, value) of what in a multipath.conf is in force for a LUN of ONTAP's: other vendors' devices and blacklists are not."""
    stack: List[str] = []
    device: Dict[str, str] = {}
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)[#!].*", "", raw).strip()
        if line.endswith("{"):
            stack.append(line[:-1].strip())
            device = {}
        elif line == "}" and stack:
            if stack.pop() == "device" and _fits(device.pop("vendor", "")):
                yield from device.items()
        elif line and not any(name.startswith("blacklist") for name in stack):
            key, _, value = line.partition(" ")
            value = value.strip().strip('"').strip()
            if stack[-1:] == ["device"]:
                device[key] = value
            else:
                yield key, value


def _fits(vendor: str) -> bool:
    """Whether a device section is for ONTAP; its vendor is a regular expression."""
    try:
        return not vendor or re.search(vendor, "NETAPP") is not None
    except re.error:
        return False


def iscsi(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    names = _names(pools, needs.protocol(ISCSI))
    found = re.search(r"^\s*node\.session\.timeo\.replacement_timeout\s*=\s*(\S+)", host.texts.get("etc/iscsi/iscsid.conf", ""),
                      re.MULTILINE)
    if names and found and found.group(1) != "5":
        yield Advice(HOST, "iscsi.replacement",
                     f"/etc/iscsi/iscsid.conf has replacement_timeout = {found.group(1)} (our own sessions have 5)",
                     r"sed -i 's/^\(node.session.timeo.replacement_timeout\).*/\1 = 5/' /etc/iscsi/iscsid.conf", names)


def nvme(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    names = _names(pools, needs.protocol(*NVME))
    if not names:
        return
    if host.values.get("sys/module/nvme_core/parameters/multipath", "Y") != "Y":
        yield Advice(HOST, "nvme.multipath", "nvme_core.multipath is N",
                     "take nvme_core.multipath=N off the kernel's command line; reboot", names)
    if not any(path.endswith("71-nvmf-netapp.rules") for path in host.present):
        yield Advice(HOST, "nvme.rules", f"/{_RULES} is not there", f"{needs.INSTALL[host.family]} nvme-cli, 2.0 or newer", names)
    for path, model in sorted(host.values.items()):
        if not path.endswith("/model") or _ONTAP not in model.lower():
            continue
        place = path.rpartition("/")[0]
        policy, loss = host.values.get(f"{place}/iopolicy", ""), host.values.get(f"{place}/ctrl_loss_tmo", "")
        if policy == "numa":
            yield Advice(HOST, "nvme.policy", f"{place.rpartition('/')[2]} has the path policy numa",
                         f"echo queue-depth > /{place}/iopolicy "
                         f"(round-robin before Linux 6.11)", names)
        asked = {str(pool.ctrl_loss_tmo) if pool.ctrl_loss_tmo >= 0 else "off" for pool in pools if pool.name in names}
        if loss and loss not in asked | {"-1", "off"}:
            yield Advice(HOST, "nvme.loss", f"{place.rpartition('/')[2]} is given up after {loss} s without connection",
                         f"echo -1 > /{place}/ctrl_loss_tmo, or: systemctl reload kvmontap-nvme@POOL", names)


def ocfs2(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    for cluster in config.clusters.values():
        used = [pool for pool in pools if pool.cluster == cluster.name and pool.filesystem == "ocfs2"]
        if not used or cluster.stack != "o2cb":
            continue
        names = tuple(pool.name for pool in used)
        if cluster.heartbeat_threshold < THRESHOLD and any(pool.wwid or pool.protocol in NVME for pool in used):
            yield Advice(HOST, "ocfs2.threshold", f"cluster {cluster.name} has heartbeat-threshold = {cluster.heartbeat_threshold}, "
                         f"{(cluster.heartbeat_threshold - 1) * 2} s", f"write heartbeat-threshold = {THRESHOLD} into [[{cluster.name}]] "
                         "on every host, and take the cluster down and up once", names)
        there = host.values.get(f"sys/kernel/config/cluster/{cluster.name}/heartbeat/dead_threshold", "")
        if there and there != str(cluster.heartbeat_threshold):
            yield Advice(HOST, "ocfs2.threshold", f"cluster {cluster.name} runs with heartbeat-threshold {there}, the file says "
                         f"{cluster.heartbeat_threshold}", f"stop the VMs, then: systemctl restart kvmontap-o2cb@{cluster.name}", names)
        short = host.hostname.partition(".")[0]
        if host.hostname and not any(node.name in (host.hostname, short) for node in cluster.nodes):
            yield Advice(HOST, "ocfs2.node", f"cluster {cluster.name} has no node {short}", f"write {short} = ADDRESS into [[[nodes]]] of "
                         f"[[{cluster.name}]]", names)
        yield from _panic(host, names)


def _panic(host: Host, names: Tuple[str, ...]) -> Iterator[Advice]:
    if host.values.get("proc/sys/kernel/panic") == "0" or host.values.get("proc/sys/kernel/panic_on_oops") == "0":
        yield Advice(HOST, "ocfs2.panic", "the kernel neither panics at an oops nor reboots after it",
                     "printf 'kernel.panic_on_oops = 1\\nkernel.panic = 30\\n' > /etc/sysctl.d/50-ocfs2.conf; sysctl --system", names)


def transports(host: Host, config: Config, pools: List[Pool]) -> Iterator[Advice]:
    """NFS mounts that have another number of connections than they ask for."""
    for pool in pools:
        if pool.protocol != NFS or pool.type != "dir":
            continue
        asked = dict(one.partition("=")[::2] for one in mounted(pool).options.split(",")).get("nconnect", "1")
        for mount in host.mounts:
            have = mount.option("nconnect") or "1"
            if mount.where == pool.target and mount.fstype in ("nfs", "nfs4") and have != asked:
                yield Advice(HOST, "nfs.transports", f"{pool.target} has {have} connections instead of {asked}",
                             "give every pool of that server "
                             "one nconnect, and mount them anew after a reboot, or all at once", (pool.name,))


CHECKS = (programs, modules, services, guests_timeout, identities, secured, multipath, iscsi, nvme, ocfs2, transports)
