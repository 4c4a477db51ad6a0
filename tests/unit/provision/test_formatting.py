"""What is planned for a device, given what it holds."""

import pytest

from kvmontap.host.contents import Contents, Signature
from kvmontap.model import Cluster, Node, Pool
from kvmontap.provision.formatting import DONE, FORMAT, REFUSED, plan, unfit

WWID = "3600a098038314c57312b58387638574f"
DEVICE = f"/dev/disk/by-id/dm-uuid-mpath-{WWID}"
LUN = Pool("kvmiscsi01", "iscsi", target="/mnt/kvmiscsi01", wwid=WWID, filesystem="xfs")
SHARED = LUN._replace(filesystem="ocfs2", cluster="cl")
CLUSTER = Cluster("cl", nodes=tuple(Node(f"kvm{number}", f"10.0.0.{number}", number=number) for number in (1, 2, 3)))
EMPTY = Contents(100 << 30)


def lines(made):
    return [(step.hosts, step.text) for step in made.steps]


def test_an_empty_device_is_formatted_once_and_used():
    made = plan(LUN, None, EMPTY)
    assert (made.state, made.device) == (FORMAT, DEVICE) and "is empty (100 GiB)" in made.reason
    assert lines(made) == [
        ("one host", f"mkfs.xfs -L kvmiscsi01 {DEVICE}"),
        ("one host", "systemctl daemon-reload"),
        ("one host", "systemctl start mnt-kvmiscsi01.mount"),
        ("one host", "kvmontap pool apply"),
    ]


def test_ocfs2_gets_its_cluster_and_a_slot_for_each_node():
    made = plan(SHARED, CLUSTER, EMPTY)
    assert lines(made)[0] == ("one host", f"mkfs.ocfs2 -b 4096 -N 3 --cluster-stack=o2cb --cluster-name=cl -L kvmiscsi01 {DEVICE}")
    assert {hosts for hosts, _ in lines(made)[1:]} == {"every host"}
    assert "-N 8 " in lines(plan(SHARED, CLUSTER, EMPTY, 8))[0][1]
    assert "-N 2 " in lines(plan(SHARED, Cluster("cl", nodes=CLUSTER.nodes[:1]), EMPTY))[0][1]


def test_gfs2_gets_its_lock_table_and_a_journal_for_each_node():
    made = plan(LUN._replace(filesystem="gfs2", cluster="cl"), CLUSTER._replace(stack="dlm"), EMPTY)
    assert lines(made)[0] == ("one host", f"mkfs.gfs2 -p lock_dlm -t cl:kvmiscsi01 -j 3 {DEVICE}")
    assert {hosts for hosts, _ in lines(made)[1:]} == {"every host"}
    assert "the cluster cl is not in the file" in unfit(LUN._replace(filesystem="gfs2", cluster="cl"), None)


def test_a_label_that_does_not_fit_is_left_out():
    long = LUN._replace(name="kvmiscsi-0001")
    assert "-L" not in plan(long, None, EMPTY).steps[0].argv
    assert "-L" in plan(long._replace(filesystem="ext4"), None, EMPTY).steps[0].argv


def test_the_second_run_finds_the_file_system_and_formats_nothing():
    made = plan(LUN, None, EMPTY._replace(signatures=(Signature("xfs", "kvmiscsi01"),), written=("first MiB",),
                                          users=("mounted on /mnt/kvmiscsi01",)))
    assert made.state == DONE and "(label kvmiscsi01) already" in made.reason
    assert [step.argv[0] for step in made.steps] == ["systemctl", "systemctl", "kvmontap"]


@pytest.mark.parametrize("found,said", [
    (EMPTY._replace(signatures=(Signature("ext4", "home"),)), "holds ext4 (label home): it is not formatted"),
    (EMPTY._replace(signatures=(Signature("LVM2_member"),)), "holds LVM2_member"),
    (EMPTY._replace(signatures=(Signature("xfs"), Signature("gpt"))), "holds xfs, gpt"),
    (EMPTY._replace(written=("last MiB",)), "no library knows, in its last MiB: "),
    (EMPTY._replace(written=("first MiB", "last MiB")), "in its first MiB and its last MiB: "),
    (EMPTY._replace(users=("dm-3 is built on it",)), "in use on this host: dm-3 is built on it"),
    (Contents(trouble="it does not answer (20 s)"), "cannot be judged: it does not answer (20 s)"),
    (Contents(missing=True, trouble="there is no such device"), "systemctl start kvmontap-iscsi@kvmiscsi01.service"),
])
def test_anything_else_is_refused_without_a_step(found, said):
    made = plan(LUN, None, found)
    assert made.state == REFUSED and made.steps == () and said in made.reason


def test_pools_without_a_file_system_to_make():
    assert "its protocol is nfs" in unfit(Pool("a", "nfs"), None)
    assert "filesystem = none" in unfit(LUN._replace(filesystem=""), None)
    assert "type = logical" in unfit(LUN._replace(type="logical", target=""), None)
    assert "cluster cl is not" in unfit(SHARED, None)
    assert "--slots is for ocfs2 and gfs2, not for xfs" in unfit(LUN, None, 4)
    assert unfit(LUN, None) == unfit(SHARED, CLUSTER) == unfit(SHARED, CLUSTER, 3) == ""


@pytest.mark.parametrize("slots", [-1, 2, 256])
def test_slots_out_of_bounds(slots):
    assert "between 3 (the nodes of cl) and 255" in unfit(SHARED, CLUSTER, slots)
