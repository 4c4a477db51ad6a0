"""The checks of a host on roots of three families, and that they fall silent where all is as it should be."""

import os

import pytest

from kvmontap.config import parse
from kvmontap.doctor import look, needs, onhost
from kvmontap.doctor.advice import CHECKS
from kvmontap.host.mountinfo import Mount

CONF = """[pools]
[[n]]
protocol = nfs
server = 192.0.2.1
export = /n
security = krb5p
tls = tls
nconnect = 4
[[s]]
protocol = smb
server = f
share = s
credentials = /root/c
[[i]]
protocol = iscsi
portals = 192.0.2.2
wwid = 3600a098038314c57312b58387638574f
filesystem = ocfs2
cluster = kvmcl01
[[v]]
protocol = nvme-tcp
portals = 192.0.2.3
namespace = 6c1e5a0e-0000-4000-8000-000000000000
filesystem = gfs2
cluster = dl
[clusters]
[[kvmcl01]]
[[[nodes]]]
kvm01 = 192.0.2.5
[[dl]]
stack = dlm
[[[nodes]]]
kvm01 = 192.0.2.5
"""
CONFIG = parse(CONF).config
RELEASES = {
    "debian": ("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n", "apt install nfs-common", "apt install open-iscsi"),
    "ubuntu": ("ID=ubuntu\nID_LIKE=debian\n", "apt install nfs-common", "apt install dlm-controld"),
    "fedora": ("ID=fedora\n", "dnf install nfs-utils", "dnf install iscsi-initiator-utils"),
    "rocky": ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install device-mapper-multipath", "dnf install dlm"),
    "arch": ("ID=arch\n", "pacman -S nfs-utils", "pacman -S multipath-tools"),
}


def put(root, path, text="x"):
    where = root / path
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(text)


def found(root, **more):
    host = look.read(str(root), CONFIG)._replace(**more)
    return {one.check: one for one in onhost.advice(host, CONFIG)}, onhost.advice(host, CONFIG)


@pytest.mark.parametrize("name", RELEASES)
def test_packages_have_the_names_of_the_distribution(tmp_path, name):
    release, *fixes = RELEASES[name]
    put(tmp_path, "etc/os-release", release)
    _, every = found(tmp_path)
    said = {one.fix for one in every if one.check == "package"}
    assert set(fixes) <= said and len({fix.rsplit(" ", 1)[0] for fix in said}) == 1
    assert ("multipath.conf" in {one.check for one in every}) == (name in ("fedora", "rocky"))


def complete(root):
    """A host that has everything."""
    put(root, "etc/os-release", "ID=debian\n")
    put(root, "etc/hostname", "kvm01\n")
    for program in needs.PROGRAMS:
        put(root, program.paths[0])
    names = [name for module in needs.MODULES for name in module.names]
    put(root, "lib/modules/6.1.0/modules.dep", "".join(f"kernel/x/{name.replace('_', '-')}.ko.xz: kernel/y.ko\n" for name in names[:-2]))
    put(root, "lib/modules/6.1.0/modules.builtin", "".join(f"kernel/x/{name}.ko\n" for name in names[-2:]))
    put(root, "etc/krb5.keytab")
    put(root, "etc/tlshd.conf", "[authenticate.client]\nx509.truststore = /etc/ca.pem\n")
    put(root, "etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.2004-10.org.example:kvm01\n")
    put(root, "etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:1\n")
    put(root, "etc/iscsi/iscsid.conf", "node.session.timeo.replacement_timeout = 5\n")
    put(root, "usr/lib/udev/rules.d/71-nvmf-netapp.rules")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for unit in ("chrony.service", "libvirt-guests.service"):
        put(root, f"usr/lib/systemd/system/{unit}", "[Install]\nWantedBy=multi-user.target\n")
        (wants / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")


def test_a_host_as_it_should_be_is_silent_but_for_the_threshold(tmp_path):
    complete(tmp_path)
    said, _ = found(tmp_path)
    assert set(said) == {"ocfs2.threshold"} and "heartbeat-threshold = 31, 60 s" in said["ocfs2.threshold"].text


CHANGES = {
    "service.masked": ("etc/systemd/system/iscsid.service", None),
    "guests.timeout": ("etc/default/libvirt-guests", "#SHUTDOWN_TIMEOUT=1\nSHUTDOWN_TIMEOUT=60\n"),
    "iscsi.replacement": ("etc/iscsi/iscsid.conf",
                          "# node.session.timeo.replacement_timeout = 5\nnode.session.timeo.replacement_timeout = 120\n"),
    "multipath.value": ("etc/multipath.conf", 'defaults {\n  no_path_retry 5 # x\n}\n'),
    "ocfs2.node": ("etc/hostname", "kvm09\n"),
}


@pytest.mark.parametrize("check", CHANGES)
def test_one_thing_that_is_not(tmp_path, check):
    complete(tmp_path)
    path, text = CHANGES[check]
    if text is None:
        (tmp_path / path).symlink_to("/dev/null")
    else:
        put(tmp_path, path, text)
    said, _ = found(tmp_path)
    assert set(said) == {"ocfs2.threshold", check} and said[check].fix


@pytest.mark.parametrize("check, path", [
    ("keytab", "etc/krb5.keytab"), ("tlshd.trust", "etc/tlshd.conf"), ("identity", "etc/nvme/hostnqn"),
    ("nvme.rules", "usr/lib/udev/rules.d/71-nvmf-netapp.rules"), ("module", "lib/modules/6.1.0/modules.builtin"),
    ("service.guests", "etc/systemd/system/multi-user.target.wants/libvirt-guests.service"),
    ("service.clock", "etc/systemd/system/multi-user.target.wants/chrony.service"),
])
def test_one_thing_that_is_missing(tmp_path, check, path):
    complete(tmp_path)
    os.unlink(tmp_path / path)
    said, _ = found(tmp_path)
    assert set(said) == {"ocfs2.threshold", check} and said[check].fix


def test_what_only_a_running_kernel_tells(tmp_path):
    complete(tmp_path)
    values = {
        "sys/module/nvme_core/parameters/multipath": "N",
        "sys/class/nvme-subsystem/nvme-subsys0/model": "NetApp ONTAP Controller",
        "sys/class/nvme-subsystem/nvme-subsys0/iopolicy": "numa",
        "sys/class/nvme/nvme1/model": "NetApp ONTAP Controller",
        "sys/class/nvme/nvme1/ctrl_loss_tmo": "1800",
        "sys/class/nvme/nvme0/model": "Some SSD",
        "sys/class/nvme/nvme0/ctrl_loss_tmo": "600",
        "proc/sys/kernel/panic": "0",
        "proc/sys/kernel/panic_on_oops": "1",
    }
    mounts = (Mount("/mnt/n", "192.0.2.1:/n", "nfs4", super_options=("nconnect=2",)),)
    said, every = found(tmp_path, values=values, mounts=mounts)
    assert set(said) == {"ocfs2.threshold", "nvme.multipath", "nvme.policy", "nvme.loss", "ocfs2.panic", "nfs.transports"}
    assert said["nfs.transports"].text == "/mnt/n has 2 connections instead of 4" and sum(one.check == "nvme.loss" for one in every) == 1
    quiet = {**values, "sys/module/nvme_core/parameters/multipath": "Y", "sys/class/nvme-subsystem/nvme-subsys0/iopolicy": "queue-depth",
             "sys/class/nvme/nvme1/ctrl_loss_tmo": "off", "proc/sys/kernel/panic": "30"}
    assert set(found(tmp_path, values=quiet)[0]) == {"ocfs2.threshold"}


@pytest.mark.parametrize("text, in_force", [
    ("", []),
    ("defaults {\n user_friendly_names yes\n}\n", [("user_friendly_names", "yes")]),
    ('devices {\n device {\n  vendor "DELL"\n  no_path_retry 3\n }\n device {\n  vendor "NETAPP"\n  prio "alua"\n }\n}\n', [("prio",
                                                                                                                             "alua")]),
    ('overrides {\n path_checker directio\n}\nblacklist {\n devnode "sda"\n}\n', [("path_checker", "directio")]),
    ('devices {\n device {\n vendor ".*"\n product ".*"\n dev_loss_tmo 30\n }\n}', [("product", ".*"), ("dev_loss_tmo", "30")]),
    ('# defaults {\n!x\n', []),
])
def test_what_of_a_multipath_conf_is_in_force(text, in_force):
    assert list(onhost.settings(text)) == in_force


def test_every_check_of_a_host_is_tried():
    """A check that no test has seen speak may be one that never does."""
    tried = {*CHANGES, "package", "multipath.conf", "keytab", "tlshd.trust", "identity", "nvme.rules", "module", "service.guests",
             "service.clock",
             "ocfs2.threshold", "nvme.multipath", "nvme.policy", "nvme.loss", "ocfs2.panic", "nfs.transports"}
    others = {check for check in CHECKS if check.startswith(("array.", "export.", "lun.", "lif.", "volume.", "vm.", "libvirt."))}
    assert tried | others == set(CHECKS)
