"""The account that qemu runs under, from files as they stand in /etc."""

import pytest

from kvmontap.owner import qemu_owner
from kvmontap.units.mounted import Owner

PASSWD = "root:x:0:0:root:/root:/bin/sh\nlibvirt-qemu:x:64055:106::/var/lib/libvirt:/usr/sbin/nologin\nvm:x:1000:1000::/:/bin/sh\n"
GROUP = "root:x:0:\nkvm:x:106:libvirt-qemu\nlibvirt-qemu:x:64055:\nvms:x:2000:vm\n"


@pytest.mark.parametrize("passwd, group, conf, owner", [
    (PASSWD, GROUP, "", Owner(64055, 64055)),
    (PASSWD, "kvm:x:106:\n", "", Owner(64055, 106)),
    (PASSWD, "", "", Owner(64055, 106)),
    ("qemu:x:107:107::/:/sbin/nologin\n", "qemu:x:107:\n", "", Owner(107, 107)),
    (PASSWD, GROUP, '#user = "x"\nuser = "vm"\ngroup = "vms"\n', Owner(1000, 2000)),
    (PASSWD, GROUP, ' user="root"\n', Owner(0, 0)),
    (PASSWD, GROUP, 'user = "+77"\ngroup = "+78"\n', Owner(77, 78)),
    (PASSWD, GROUP, 'user = "nobody-here"\n', None),
    ("", "", "", None),
    ("libvirt-qemu:x:none:\n", "", "", None),
])
def test_owner(passwd, group, conf, owner, tmp_path):
    (tmp_path / "etc/libvirt").mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text(passwd)
    (tmp_path / "etc/group").write_text(group)
    (tmp_path / "etc/libvirt/qemu.conf").write_text(conf)
    assert qemu_owner(str(tmp_path)) == owner


def test_nothing_to_read(tmp_path):
    assert qemu_owner(str(tmp_path)) is None
