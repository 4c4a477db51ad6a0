"""FlexClones, their LUNs and namespaces shown to one host, reverts: over HTTPS, with the rights of `kvmontap role --all` and no more."""

import pytest

from kvmontap import model
from kvmontap.array import Client, flexclone
from kvmontap.array.errors import ArrayError
from kvmontap.array.revert import revert
from kvmontap.array.role import role
from kvmontap.array.snapshot import Wanted, create
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import stored
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import secret, soon

SVM = "svm_kvm"
NAMESPACE = "6c1e5a0e-0000-4000-8000-0000000000a1"
LUN = model.Pool("kvmiscsi01", "iscsi", wwid="3600a0980" + b"ABCdef123456".hex(), filesystem="ocfs2")
NS = model.Pool("kvmns01", "nvme-tcp", namespace=NAMESPACE, filesystem="ocfs2")
POOLS = {"lun": (LUN, "iqn.1993-08.org.debian:01:host1"), "namespace": (NS, "nqn.2014-08.org.nvmexpress:uuid:1")}
DESCRIPTION = {
    "svms": [{"name": SVM}],
    "users": [{"name": "kvmontap", "password": "secret-1", "role": "kvmontap"}],
    "roles": {"kvmontap": [{"path": one.path, "access": one.access}
                           for one in role(model.Array("prod", "x"), model.Config({}, {}, {}), everything=True).rights]},
    "luns": [{"name": "lun0", "volume": "kvmblk01", "serial": "ABCdef123456"}, {"name": "lun1", "volume": "kvmblk01"}],
    "namespaces": [{"name": "ns1", "volume": "kvmblk01", "uuid": NAMESPACE}],
    "igroups": [{"name": "shared", "initiators": ["iqn.1993-08.org.debian:01:host1", "iqn.1993-08.org.debian:01:host2"], "maps": ["lun0"]}],
}


@pytest.fixture
def site(authority, judge, tmp_path):
    """(array, client, volume) with a snapshot `s1`; the volume has two LUNs and a namespace, files of a directory."""
    directory = tmp_path / "kvmblk01"
    directory.mkdir()
    (directory / "lun0").write_text("then")
    backend = {"kind": "copies", "directory": str(directory), "snapshots": str(tmp_path / "snapshots")}
    described = {**DESCRIPTION, "volumes": [{"name": "kvmblk01", "svm": SVM, "path": None, "backend": backend}]}
    with PocketArray(described, directory=authority, observers=(judge,) if judge else ()) as array:
        client = Client(model.Array("prod", array.host, svm=SVM, username="kvmontap", ca=array.ca,
                                    password_file=secret(tmp_path / "password", "secret-1")))
        volume = VolumeRef(array.volume("kvmblk01").uuid, "kvmblk01", SVM, "")
        create(client, volume, Wanted("s1", "{}"), soon())
        (directory / "lun0").write_text("now")
        yield array, client, volume, directory
        client.close()


def test_a_wwid_is_netapps_prefix_and_the_serial_in_hex():
    one = flexclone.Block("u", "/vol/v/qtree/lun0", "80LW1+X8sCuO")
    assert (one.wwid, one.inside) == ("3600a098038304c57312b58387343754f", "qtree/lun0")


@pytest.mark.parametrize("kind", POOLS)
def test_made_shown_hidden_deleted(site, kind):
    array, client, volume, directory = site
    pool, host = POOLS[kind]
    before = flexclone.behind(pool, flexclone.blocks(client, pool, volume, soon()))
    flexclone.create(client, volume, "s1", "kvmontap_restore_1", soon())
    clone = flexclone.find(client, SVM, "kvmontap_restore_1", soon())
    assert (directory.parent / clone.name / "lun0").read_text() == "then"
    there = flexclone.blocks(client, pool, clone, soon())
    block = next(one for one in there if one.inside == before.inside)
    assert block.uuid != before.uuid and (kind == "namespace" or block.wwid not in (pool.wwid, ""))
    access = flexclone.show(client, pool, SVM, "kvmontap_restore_1", [host], block, soon())
    seen = [one for one in array.state.san.accesses.values() if block.uuid in one.mapped]
    assert [one.hosts for one in seen] == [[host]] and access.name == "kvmontap_restore_1"
    assert bool(access.nqn) == (kind == "namespace")
    assert "volume clone" in stored(client, volume, soon())[0].owners
    assert flexclone.hide(client, pool, SVM, "kvmontap_restore_1", soon()) is True
    assert flexclone.hide(client, pool, SVM, "kvmontap_restore_1", soon()) is False
    assert flexclone.delete(client, SVM, "kvmontap_restore_1", soon()) is True
    assert flexclone.delete(client, SVM, "kvmontap_restore_1", soon()) is False
    assert stored(client, volume, soon())[0].owners == () and not (directory.parent / clone.name).exists()
    assert (directory / "lun0").read_text() == "now" and len(array.state.san.accesses) == 1


def test_only_what_is_ours_and_a_clone_is_deleted(site):
    _, client, _, _ = site
    with pytest.raises(AssertionError):
        flexclone.delete(client, SVM, "kvmblk01", soon())


def test_a_snapshot_that_is_gone(site):
    _, client, volume, _ = site
    with pytest.raises(ArrayError) as caught:
        flexclone.create(client, volume, "s2", "kvmontap_restore_1", soon())
    assert caught.value.ontap_code == "524819" and flexclone.find(client, SVM, "kvmontap_restore_1", soon()) is None


def test_a_revert_takes_back_everything_and_deletes_what_is_newer(site):
    _, client, volume, directory = site
    create(client, volume, Wanted("s2", "{}"), soon())
    revert(client, volume, "s1", soon())
    assert (directory / "lun0").read_text() == "then"
    assert [one.name for one in stored(client, volume, soon())] == ["s1"]


@pytest.mark.parametrize("more, code", [
    ({"owners": ["snapmirror"]}, "1638480"), ({"owners": ["volume clone"]}, "524511"),
    ({"snaplock_expiry_time": "2126-01-01T00:00:00+00:00"}, "9437886"),
])  # fmt: skip
def test_reverts_that_the_array_refuses(site, more, code):
    array, client, volume, directory = site
    array.change(volumes={"kvmblk01": {"snapshots": [{"name": "newer", **more}]}})
    with pytest.raises(ArrayError) as caught:
        revert(client, volume, "s1", soon())
    assert caught.value.ontap_code == code and (directory / "lun0").read_text() == "now"
