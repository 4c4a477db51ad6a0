"""The rules that keep the host's hands off the volume groups of guests, and what counts as active."""

import os

import pytest

from kvmontap.attach import lvm
from kvmontap.model import Pool

WWID = "3600a098038314c57312b58387638574f"
LUN = Pool("kvmlun01", "iscsi", portals=("10.0.0.1",), wwid=WWID)


def matches(pool):
    return [line.rpartition(", ")[0] for line in lvm.rules([pool]).splitlines() if line.endswith(f'="{pool.name}"')]


@pytest.mark.parametrize("pool, wanted", [
    (LUN, [f'ENV{{DM_UUID}}=="mpath-{WWID}|part*-mpath-{WWID}"', f'ENV{{ID_SERIAL}}=="{WWID}"']),
    (Pool("n", "nvme-tcp", namespace="6C1E5A0E-0000-4000-8000-000000000000"),
     ['ENV{ID_WWN}=="uuid.6c1e5a0e-0000-4000-8000-000000000000"']),
    (Pool("d", "fc", device="/dev/disk/by-id/x"), ['ENV{DEVLINKS}=="*/dev/disk/by-id/x*"',
                                                   'ENV{DEVNAME}=="/dev/disk/by-id/x|/dev/disk/by-id/x[0-9]*|/dev/disk/by-id/xp[0-9]*"']),
    (Pool("m", "iscsi", type="mpath", portals=("10.0.0.1",)), ['ENV{DM_UUID}=="mpath-*|part*-mpath-*"', 'ENV{ID_PATH}=="*-iscsi-*-lun-*"']),
    (Pool("m", "iscsi", type="mpath", portals=("10.0.0.1",), iqn=("iqn.x:y",)),
     ['ENV{DM_UUID}=="mpath-*|part*-mpath-*"', 'ENV{ID_PATH}=="*-iscsi-iqn.x:y-lun-*"']),
    (Pool("m", "fc", type="mpath"), ['ENV{DM_UUID}=="mpath-*|part*-mpath-*"', 'ENV{ID_PATH}=="*-fc-*-lun-*"']),
    (Pool("l", "iscsi", type="iscsi", iqn=("iqn.x:y",)), ['ENV{ID_PATH}=="*-iscsi-iqn.x:y-lun-*"']),
    (Pool("s", "fc", type="scsi", adapter="scsi_host2"), ['KERNELS=="host2"']),
    (Pool("f", "nfs", "/mnt/f", server=("10.0.0.1",), export="/f"), []),
])
def test_a_pools_devices_are_known_by_what_udev_knows_of_them(pool, wanted):
    assert matches(pool) == wanted


@pytest.mark.parametrize("device", ['/dev/x", RUN+="/bin/true', "/dev/x*", "/dev/$kernel", "/dev/a|b", "/dev/%k"])
def test_a_name_that_would_mean_something_in_a_rule_is_left_out(device):
    assert matches(Pool("d", "fc", device=device)) == []
    assert "RUN" not in lvm.rules([Pool("d", "fc", device=device)])


def test_written_once_and_whole(tmp_path):
    path = str(tmp_path / "rules.d/68-kvmontap-lvm.rules")
    text = lvm.rules([LUN])
    assert lvm.write(text, path) and not lvm.write(text, path)
    assert lvm.write(lvm.rules([]), path)
    assert os.listdir(tmp_path / "rules.d") == ["68-kvmontap-lvm.rules"]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_where_it_cannot_be_written_the_risk_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert not lvm.write("x", str(tmp_path / "file/rules"))
    assert "may activate volume groups that belong to guests" in capsys.readouterr().err


@pytest.mark.parametrize("group, wanted", [("vg_kvm", ["vg_kvm-lv0", "vg_kvm-a--b"]), ("vg", ["vg-x"]), ("vg-x", ["vg--x-y"]), ("no", [])])
def test_the_active_volumes_of_a_group(group, wanted, tmp_path):
    """device-mapper doubles each dash of a name: "vg--x-y" is y of vg-x, "vg-x" is x of vg."""
    for number, (name, uuid) in enumerate([("vg_kvm-lv0", "LVM-1"), ("vg_kvm-a--b", "LVM-2"), ("vg-x", "LVM-3"), ("vg--x-y", "LVM-4"),
                                           ("vg_kvm-map", "mpath-3600"), ("vg_kvmx-lv0", "LVM-5")]):
        base = tmp_path / f"sys/block/dm-{number}/dm"
        base.mkdir(parents=True)
        (base / "name").write_text(name + "\n")
        (base / "uuid").write_text(uuid + "\n")
    assert list(lvm.active(group, str(tmp_path))) == wanted
