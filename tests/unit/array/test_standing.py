"""What stands behind pools and changes slowly: asked of a real HTTPS server, judged with and without faults."""

import pytest

from kvmontap import model
from kvmontap.array import Client, look, protection
from kvmontap.array.standing import Standing, ask, judge
from kvmontap.array.state import VolumeLook, VolumeRef
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import requests, secret, soon

UUID = "b597650e-1112-11ee-a4a2-0050569c9f4e"
IQN, NQN = "iqn.1993-08.org.debian:01:host1", "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000011"
RELATIONSHIP = {
    "uuid": UUID,
    "state": "snapmirrored",
    "healthy": True,
    "lag_time": "PT2H10M",
    "policy": {"name": "MirrorAllSnapshots", "type": "async"},
    "source": {"path": "svm_kvm:kvmnfs01", "svm": {"name": "svm_kvm"}},
    "destination": {"path": "svm_dr:kvmnfs01_dr"},
}
DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}],
    "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm", "aggregate": "aggr1"}, {"name": "kvmblk01", "svm": "svm_kvm", "path": None}],
    "lifs": [
        {"name": "lif_a", "svm": "svm_kvm", "address": "192.0.2.11", "home_node": "node1"},
        {"name": "lif_b", "svm": "svm_kvm", "address": "192.0.2.12", "home_node": "node2"},
    ],
    "fc_lifs": [
        {"name": f"fc{number}", "svm": "svm_kvm", "state": "up", "enabled": True, "data_protocol": "fcp",
         "location": {"home_node": {"name": f"node{number}"}, "node": {"name": f"node{number}"}, "is_home": True}}
        for number in (1, 2)
    ],
    "luns": [{"name": "lun0", "volume": "kvmblk01", "serial": "81LW1+X8v8WO"}],
    "namespaces": [{"name": "ns0", "volume": "kvmblk01", "uuid": "6c1e5a0e-0000-4000-8000-000000000000"}],
    "igroups": [{"name": "kvm", "initiators": [IQN, "20:00:00:50:56:b4:13:a8"], "maps": ["lun0"]},
                {"name": "others", "initiators": ["iqn.1993-08.org.debian:01:other"], "maps": []}],
    "subsystems": [{"name": "kvm", "hosts": [NQN], "maps": ["ns0"]}],
    "aggregates": [{"name": "aggr1", "space": {"block_storage": {"used_percent": 40}}}],
    "relationships": [RELATIONSHIP],
    "mediators": [{"ip_address": "192.0.2.9", "reachable": False}],
    "users": [{"name": "kvmontap", "password": "p-1"}, {"name": "limited", "password": "p-2", "role": "limited"}],
    "roles": {"limited": [{"path": path, "access": "readonly"} for path in ("/api/storage/volumes", "/api/snapmirror/relationships")]},
}
NFS = model.Pool("kvmnfs01", "nfs", "/mnt/kvmnfs01", server=("192.0.2.11", "192.0.2.12"), export="/kvmnfs01", ontap="prod")
ISCSI = model.Pool("kvmiscsi01", "iscsi", "/mnt/i", portals=("192.0.2.11", "192.0.2.12:3260"), volume="kvmblk01", ontap="prod")
FC = model.Pool("kvmfc01", "fc", "/mnt/f", volume="kvmblk01", ontap="prod")
NVME = model.Pool("kvmns01", "nvme-tcp", "/mnt/n", portals=("192.0.2.11", "192.0.2.12"), ontap="prod",
                  namespace="6c1e5a0e-0000-4000-8000-000000000000")
POOLS = (NFS, ISCSI, FC, NVME)


@pytest.fixture
def pocket(authority, judge):
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        yield array


@pytest.fixture
def client(pocket, tmp_path):
    made = Client(model.Array("prod", pocket.host, svm="svm_kvm", username="kvmontap", ca=pocket.ca,
                              password_file=secret(tmp_path / "password", "p-1")))
    yield made
    made.close()


@pytest.fixture
def judged(client):
    """judged(pool): codes and texts of what is found of it, all three pools asked for."""

    def found(pool):
        answered = ask(client, POOLS, soon())
        assert answered.skipped == ()
        return {one.code: one for one in judge(pool, look(client, pool, soon()), {"prod": answered})}

    return found


def test_all_is_well(judged):
    assert judged(NFS) == {} and judged(ISCSI) == {} and judged(FC) == {}


def test_eight_questions_for_all_pools_of_an_array(pocket, client):
    ask(client, POOLS, soon())
    assert sorted(path for _, path in requests(pocket)) == [
        "/api/cluster/mediators", "/api/cluster/metrocluster", "/api/network/fc/interfaces", "/api/network/ip/interfaces",
        "/api/protocols/nvme/subsystems", "/api/protocols/san/igroups", "/api/snapmirror/relationships", "/api/storage/aggregates"]
    before = len(requests(pocket))
    ask(client, (NFS,), soon())
    assert len(requests(pocket)) - before == 5
    before = len(requests(pocket))
    ask(client, (), soon())  # an array that only holds the destinations of SnapMirror
    assert [path for _, path in requests(pocket)[before:]] == ["/api/snapmirror/relationships"]


def test_lifs_of_one_node(pocket, judged):
    pocket.change(lifs={"lif_b": {"state": "down"}})
    found = judged(ISCSI)
    assert set(found) == {"lif.down", "lif.one-node"}
    assert found["lif.one-node"].text == "every LIF of pool kvmiscsi01 (lif_a) is on node node1 of array prod and goes down with it"
    pocket.change(lifs={"lif_b": {"state": "up", "home_node": "node1", "node": "node1"}})
    assert set(judged(ISCSI)) == {"lif.one-node"}, "the FC LIFs tell of a second node"
    # LIFs that move by themselves are redundant on one node, and trunking wants them there.
    pocket.change(lifs={name: {"failover": "broadcast_domain_only"} for name in ("lif_a", "lif_b")})
    assert judged(NFS) == {}
    pocket.change(fc_lifs={"fc2": {"state": "down"}})
    assert set(judged(FC)) == {"lif.down", "lif.one-node"}


@pytest.mark.parametrize("pool, names, unmapped", [
    (ISCSI._replace(volume="", wwid="3600a098038314c57312b58387638574f"), (IQN.upper(),), False),
    (FC._replace(volume="", wwid="3600a098038314c57312b58387638574f"), ("20:00:00:50:56:b4:13:a7", "20:00:00:50:56:b4:13:a8"), False),
    (ISCSI._replace(volume="", wwid="3600a098038314c57312b58387638574f"), ("iqn.1993-08.org.debian:01:other",), True),
    (NVME, (NQN,), False), (NVME, (NQN[:-1] + "2",), True), (NVME, (), False),
])
def test_maps_to_this_host(pool, names, unmapped, client):
    seen = look(client, pool, soon())
    found = judge(pool, seen, {"prod": ask(client, POOLS, soon())}, names)
    assert [one.code for one in found] == (["lun.unmapped"] if unmapped else [])
    assert not unmapped or names[0] in found[0].text


def test_aggregates(pocket, judged):
    pocket.change(aggregates={"aggr1": {"space": {"block_storage": {"used_percent": 96}}}})
    assert judged(NFS)["aggregate.low"].text == "aggregate aggr1 of volume kvmnfs01 is 96% full on array prod"
    pocket.change(aggregates={"aggr1": {"state": "offline"}})
    assert judged(NFS)["aggregate.state"].health == "degraded"


def rpo(pool, seconds):
    return pool._replace(snapshots=pool.snapshots._replace(rpo=seconds))


def test_snapmirror_lag_against_rpo(pocket, judged):
    assert judged(rpo(NFS, 3 * 3600.0)) == {}
    assert judged(rpo(NFS, 7200.0))["snapmirror.lag"].text == (
        "SnapMirror of volume kvmnfs01 to svm_dr:kvmnfs01_dr is 2 h 10 min behind, rpo allows 2 h")
    assert judged(rpo(ISCSI, 7200.0))["snapmirror.missing"].text == (
        "an rpo is asked for, but no array (prod) tells of a SnapMirror relationship of volume kvmblk01")


def test_snapmirror_unhealthy(pocket, judged):
    pocket.change(relationships={UUID: {"healthy": False, "unhealthy_reason": [{"code": "6619715", "message": "Transfer failed."}]}})
    assert judged(NFS)["snapmirror.unhealthy"].text.endswith("is not healthy: Transfer failed")
    pocket.change(relationships={UUID: {"healthy": True, "unhealthy_reason": [], "state": "broken_off"}})
    assert judged(NFS)["snapmirror.unhealthy"].text.endswith("its state is broken off")


def test_active_sync_and_its_mediator(pocket, judged):
    pocket.change(relationships={UUID: {
        "state": "in_sync", "group_type": "consistency_group", "policy": {"name": "AutomatedFailOverDuplex", "type": "sync"},
        "source": {"path": "svm_kvm:/cg/kvm", "svm": {"name": "svm_kvm"}, "consistency_group_volumes": [{"name": "kvmblk01"}]}}})
    assert set(judged(ISCSI)) == {"mediator.unreachable"} and judged(NFS) == {}
    pocket.change(mediators={"192.0.2.9": {"reachable": True}}, relationships={UUID: {"state": "out_of_sync"}})
    assert judged(ISCSI)["snapmirror.not-in-sync"].text == (
        "active sync of volume kvmblk01 to svm_dr:kvmnfs01_dr is out of sync")
    pocket.change(relationships={UUID: {"state": "in_sync", "consistency_group_failover": {"state": "failed"}}})
    assert set(judged(ISCSI)) == {"snapmirror.failover"}


@pytest.mark.parametrize("local, said", [
    ({"configuration_state": "configured", "mode": "normal", "partner_cluster_reachable": True}, ""),
    ({"configuration_state": "configured", "mode": "switchover"}, "in switchover"),
    ({"configuration_state": "partially_configured", "mode": "normal"}, "partially configured"),
    ({"configuration_state": "configured", "mode": "normal", "partner_cluster_reachable": False}, "without its partner"),
])
def test_metrocluster(local, said, pocket, judged):
    pocket.change(metrocluster={"local": local}, mediators={"192.0.2.9": {"reachable": True}})
    found = judged(NFS)
    assert set(found) == ({"metrocluster.state"} if said else set())
    assert not said or said in found["metrocluster.state"].text


def test_what_the_role_may_not_ask_is_skipped(pocket, tmp_path):
    client = Client(model.Array("prod", pocket.host, svm="svm_kvm", username="limited", ca=pocket.ca,
                                password_file=secret(tmp_path / "limited", "p-2")))
    answered = ask(client, POOLS, soon())
    client.close()
    assert answered.relationships and answered.lifs is None
    assert [one.partition(":")[0] for one in answered.skipped] == [
        "lifs", "fc lifs", "igroups", "subsystems", "aggregates", "mediators", "metrocluster"]
    assert "does not let limited read LIFs" in answered.skipped[0]
    assert judge(NFS, VolumeLook(VolumeRef("u", "kvmnfs01", "svm_kvm", "")), {"prod": answered}) == ()


def test_an_older_ontap_does_not_know_a_question(pocket, client):
    for path in ("/api/cluster/mediators", "/api/cluster/metrocluster"):
        pocket.faults.add("error", path=path, status=404, code="3", message="API not found")
    answered = ask(client, POOLS, soon())
    assert answered.skipped == () and answered.mediators is None and answered.aggregates


def test_after_silence_nothing_more_is_asked(pocket, client):
    pocket.faults.add("silent", path="/api/*")
    answered = ask(client, POOLS, soon(0.5))
    assert len(answered.skipped) == 1 and "nothing within" in answered.skipped[0]
    assert len(requests(pocket)) == 1


def test_answers_that_cannot_be_read_are_one_finding():
    odd = Standing("prod", relationships=({"source": "svm_kvm"},))
    found, = judge(NFS, VolumeLook(VolumeRef("u", "kvmnfs01", "svm_kvm", "")), {"prod": odd})
    assert (found.code, found.health) == ("array.answer", "degraded")


def test_svm_dr_and_namesakes():
    ref = VolumeRef("u", "v", "svm", "here")
    assert protection.is_source({"source": {"path": "svm:", "svm": {"name": "svm", "uuid": "here"}}}, ref)
    assert not protection.is_source({"source": {"path": "svm:v", "svm": {"name": "svm", "uuid": "elsewhere"}}}, ref)
    assert not protection.is_source({"source": {"path": "svm:v2", "svm": {"name": "svm"}}}, ref)


@pytest.mark.parametrize("words, seconds", [("PT8H35M42S", 30942.0), ("P1DT2H", 93600.0), ("P2W", 1209600.0), ("PT0S", 0.0), ("P", None),
                                            ("", None), ("8h", None)])
def test_durations(words, seconds):
    assert protection.duration(words) == seconds
