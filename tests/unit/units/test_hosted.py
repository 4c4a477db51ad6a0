"""Pools whose array runs in a VM on this host: nothing of them comes before libvirt, nothing of them outlives that VM."""

import pytest

from kvmontap.model import Boot, Cluster, Config, Node, Pool
from kvmontap.units.bundle import bundle

NFS = Pool("n", "nfs", "/mnt/n", server=("10.0.0.1",), export="/n", hosted_on="select-1")
LUN = Pool("b", "iscsi", "/mnt/b", portals=("10.0.0.1",), wwid="3600a", filesystem="ocfs2", cluster="c", hosted_on="select-1")
VG = Pool("v", "nvme-tcp", type="logical", portals=("10.0.0.1",), namespace="6c1e5a0e-0000-4000-8000-000000000000", vg="x",
          hosted_on="select-1")
BEFORE_LIBVIRT = ("remote-fs.target", "libvirtd.service", "virtqemud.service", "virtstoraged.service", "libvirt-guests.service")
VM, GUESTS = "kvmontap-hosted@select\\x2d1.service", "kvmontap-hosted-guests@select\\x2d1.service"


def made(*pools):
    return bundle(Config({}, {pool.name: pool for pool in pools}, {"c": Cluster("c", nodes=(Node("a", "10.0.0.1"),))}))


def values(text, key):
    return [word for line in text.splitlines() if line.startswith(key + "=") for word in line.partition("=")[2].split()]


@pytest.mark.parametrize("pool", [NFS, NFS._replace(boot=Boot(mount="automount")), LUN, VG], ids=lambda pool: pool.name)
def test_nothing_of_it_comes_before_libvirt(pool):
    found = made(pool)
    for path, text in found.files.items():
        assert not set(values(text, "Before")) & set(BEFORE_LIBVIRT), path
    assert not any(path.startswith("remote-fs.target") for path in found.links)


@pytest.mark.parametrize("pool, unit", [(NFS, "mnt-n.mount"), (LUN, "mnt-b.mount"),
                                        (LUN, "kvmontap-hosted-attach@b.service.d/50-kvmontap.conf"),
                                        (VG, "kvmontap-hosted-attach@v.service.d/50-kvmontap.conf")])
def test_each_unit_needs_the_vm_and_is_stopped_after_the_guests(pool, unit):
    text = made(pool).files[unit]
    assert VM in values(text, "Requires") and VM in values(text, "After") and GUESTS in values(text, "Before")


@pytest.mark.parametrize("pool", [NFS, LUN])
def test_the_mount_is_gone_before_the_vm_is_stopped(pool):
    """libvirt-guests.service stops that VM: what is ordered after it stops before it."""
    text = made(pool).files[f"mnt-{pool.name}.mount"]
    assert "libvirt-guests.service" in values(text, "After")
    assert {"DefaultDependencies=no", "Conflicts=umount.target"} <= set(text.splitlines())


def test_what_is_started_and_what_only_stands_there():
    links = made(NFS, LUN, VG).links
    assert {path.partition("/")[2] for path in links if path.startswith("multi-user.target.wants/")} == {
        "mnt-n.mount", "mnt-b.mount", "kvmontap-hosted-attach@v.service", GUESTS}
    manual = made(NFS._replace(boot=Boot(mount="manual"))).links
    assert set(manual) == {f"multi-user.target.wants/{GUESTS}"}


def test_other_pools_are_as_ever():
    found = made(NFS, Pool("o", "nfs", "/mnt/o", server=("10.0.0.2",), export="/o"))
    assert "remote-fs.target.wants/mnt-o.mount" in found.links
    assert "hosted" not in found.files["mnt-o.mount"]
