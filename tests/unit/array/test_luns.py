"""Which volume holds the LUN or namespace of a block pool, against the pocket array over HTTPS."""

import pytest

from kvmontap import model
from kvmontap.array import look
from kvmontap.array.luns import holder, serial_number
from tests.pocket_array.san import LUN as LUN_KIND
from tests.pocket_array.san import NAMESPACE as NAMESPACE_KIND
from tests.unit.array.over_https import requests, soon

WWID = "3600a098038314c57312b58387638574f"
UUID = "6c1e5a0e-0000-4000-8000-000000000000"
LUN = model.Pool("kvmfc01", "fc", target="/mnt/kvmfc01", wwid=WWID, filesystem="ocfs2", ontap="prod")
NAMESPACE = model.Pool("kvmns01", "nvme-tcp", target="/mnt/kvmns01", namespace=UUID.upper(), filesystem="xfs", ontap="prod")
ODD = "<a|b*>!?,\"{}"  # every character that means something in a query


def codes(seen):
    return [finding.code for finding in seen.findings]


@pytest.fixture(autouse=True)
def blocks(pocket):
    made = {}
    for kind, volume, name, identity in ((LUN_KIND, "kvmnfs01", "lun0", "81LW1+X8v8WO"), (LUN_KIND, "kvmnfs02", "lun1", "81LW1+X8v8WP"),
                                         (LUN_KIND, "kvmnfs02", "odd", ODD), (NAMESPACE_KIND, "kvmnfs02", "ns0", UUID)):
        how = {"serial": identity} if kind == LUN_KIND else {"uuid_": identity}
        made[name] = pocket.state.san.add_block(kind, pocket.volume(volume), name, **how)
    return made


def test_the_serial_number_in_a_wwid():
    assert serial_number(WWID) == "81LW1+X8v8WO"
    assert serial_number(WWID.upper()) == "81LW1+X8v8WO"
    for other in ("", "360014050000000000000000000000a00", WWID[:-2], WWID + "00", "3600a0980" + "00" * 12, "3600a0980" + "ff" * 12,
                  "3600a0980" + "zz" * 12):
        assert serial_number(other) == "", other


@pytest.mark.parametrize("pool, volume", [
    (LUN, "kvmnfs01"), (LUN._replace(wwid=WWID[:-2] + "50"), "kvmnfs02"),
    (LUN._replace(wwid="3600a0980" + ODD.encode().hex()), "kvmnfs02"), (NAMESPACE, "kvmnfs02"),
])
def test_the_volume_is_found_by_the_device_alone(client, pocket, pool, volume):
    seen = look(client, pool, soon())
    assert seen.ref.name == volume and seen.ref.uuid == pocket.volume(volume).uuid
    assert (seen.findings, seen.skipped) == ((), ())
    assert len(requests(pocket)) == 3


def test_a_volume_that_is_named_needs_no_look_at_the_lun(client, pocket):
    assert look(client, LUN._replace(volume="kvmnfs02"), soon()).ref.name == "kvmnfs02"
    assert ("GET", "/api/storage/luns") not in requests(pocket)


@pytest.mark.parametrize("pool, words", [
    (LUN._replace(wwid=WWID[:-2] + "51"), "array prod has no LUN with the serial number 81LW1+X8v8WQ"),
    (NAMESPACE._replace(namespace=UUID[:-1] + "1"), f"array prod has no NVMe namespace {UUID[:-1]}1"),
])
def test_a_device_that_the_array_does_not_have_is_said_so(client, pool, words):
    seen = look(client, pool, soon())
    assert seen.ref is None and codes(seen) == ["lun.unknown"] and seen.findings[0].text == words
    assert seen.findings[0].health == model.FAILED


def test_a_lun_of_something_else_says_nothing_of_the_array(client, pocket):
    seen = look(client, LUN._replace(wwid="360014050000000000000000000000a00"), soon())
    assert (seen.ref, seen.findings) == (None, ()) and "nor does its device tell" in seen.skipped[0]
    assert requests(pocket) == []


@pytest.mark.parametrize("pool, name, fix", [
    (LUN, "lun0", "lun show -vserver svm_kvm -path /vol/kvmnfs01/lun0"),
    (NAMESPACE, "ns0", "vserver nvme namespace show -vserver svm_kvm -path /vol/kvmnfs02/ns0"),
])
def test_one_that_is_offline_is_told_with_its_path(client, blocks, pool, name, fix):
    blocks[name].state = "offline"
    seen = look(client, pool, soon())
    assert codes(seen) == ["lun.offline"] and seen.findings[0].fix == fix
    assert seen.ref is not None and seen.findings[0].health == model.FAILED


def test_an_offline_volume_is_told_before_what_lies_in_it(client, pocket):
    pocket.change(volumes={"kvmnfs01": {"state": "offline"}})
    assert codes(look(client, LUN, soon())) == ["volume.offline", "lun.offline"]


def test_an_svm_that_has_it_not_is_not_searched_beyond(client, pocket):
    volume = pocket.state.volume("twice", "svm_other")
    pocket.state.san.add_block(LUN_KIND, volume, "theirs", serial="other-serial")
    elsewhere = LUN._replace(wwid="3600a0980" + b"other-serial".hex())
    assert codes(look(client, elsewhere, soon())) == ["lun.unknown"]
    assert holder(client, elsewhere, {}, soon())[:2] == ("twice", volume.uuid)
