"""Which volumes get a snapshot: pure."""

from kvmontap.array import Client, VolumeLook, VolumeRef
from kvmontap.model import Array, Domain, Pool, Snapshots
from kvmontap.reasons import finding
from kvmontap.snapshots import plan

DOMAIN = Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ())
REF = VolumeRef("u", "v", "s", "su")
CLIENT = Client(Array("prod", "a"))


def planned(*pools, reason="start", looks=None):
    return plan(reason, DOMAIN, "kvm01", pools, looks if looks is not None else {p.name: VolumeLook(REF) for p in pools}, {"prod": CLIENT})


def test_one_request_for_each_pool_with_an_array():
    made = planned(Pool("a", "nfs", ontap="prod"), Pool("b", "nfs", ontap="prod"))
    assert [(one.pool.name, one.volume, one.reason, one.host, one.client) for one in made.requests] == [
        ("a", REF, "start", "kvm01", CLIENT), ("b", REF, "start", "kvm01", CLIENT)
    ]
    assert made.findings == {}


def test_a_reason_that_is_not_configured_takes_none():
    assert planned(Pool("a", "nfs", ontap="prod", snapshots=Snapshots(before=("migrate",)))) == ((), {})
    assert planned(Pool("a", "nfs", ontap="prod", snapshots=Snapshots(before=(), required=True))) == ((), {})


def test_a_pool_without_an_array_takes_none_and_says_so_only_where_one_is_required():
    assert planned(Pool("a", "nfs")) == ((), {})
    made = planned(Pool("a", "nfs", snapshots=Snapshots(required=True)))
    assert [(name, one.code) for name, one in made.findings.items()] == [("a", "snapshot.no-array")]


def test_a_volume_that_is_not_known_is_a_finding_with_its_cause():
    cause = finding("array.no-answer", array="prod", address="a", error="connection refused")
    made = planned(Pool("a", "nfs", ontap="prod"), looks={"a": VolumeLook(None, (cause,))})
    assert made.requests == ()
    assert made.findings["a"].text == "no snapshot of volume of pool a: array prod (a) does not answer: connection refused"
    assert planned(Pool("a", "iscsi", ontap="prod"), looks={"a": VolumeLook(None, (), ("its volume is not named",))}).findings["a"].fix
    assert "not looked for" in planned(Pool("a", "nfs", ontap="prod"), looks={}).findings["a"].text
