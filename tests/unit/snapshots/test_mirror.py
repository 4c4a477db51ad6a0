"""SnapMirror after a snapshot, against two arrays: which relationships, what is asked, what is told."""

import pytest

from kvmontap.array import Client, look
from kvmontap.array.mirror import arrived, mirrors
from kvmontap.model import Config, Domain, Snapshots
from kvmontap.snapshots import Request, Snapshotter
from kvmontap.snapshots.background import Housekeeper
from kvmontap.snapshots.mirror import after_snapshot
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import secret, soon

VM = Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ())
UUID = "6b1f9bd6-1a3d-4e3a-8c3b-111111111111"
SOURCE = {"path": "svm_kvm:kvmnfs01", "svm": {"name": "svm_kvm"}}


def relationship(**more):
    return {"uuid": UUID, "state": "snapmirrored", "healthy": True, "lag_time": "PT8H", "source": SOURCE,
            "destination": {"path": "svm_dr:kvmnfs01_dr"}, "policy": {"type": "async"}, **more}  # fmt: skip


@pytest.fixture
def elsewhere(authority, judge):
    """The array to which the volume is mirrored."""
    with PocketArray({
        "svms": [{"name": "svm_dr"}], "volumes": [{"name": "kvmnfs01_dr", "svm": "svm_dr"}], "relationships": [relationship()],
        "users": [{"name": "kvmontap", "password": "dr-secret"}, {"name": "limited", "password": "dr-secret", "role": "none"}],
    }, directory=authority, observers=(judge,) if judge else ()) as array:  # fmt: skip
        yield array


@pytest.fixture
def sections(section, elsewhere, tmp_path):
    dr = section._replace(name="dr", address=elsewhere.host, svm="", ca=elsewhere.ca, password_file=secret(tmp_path / "dr", "dr-secret"))
    return {"prod": section, "dr": dr}


@pytest.fixture
def clients(sections):
    made = [Client(one) for one in sections.values()]
    yield made
    for client in made:
        client.close()


@pytest.fixture
def volume(client, pool):
    return look(client, pool, soon()).ref


def transfers(array):
    return len(array.log.entries("POST", "/api/snapmirror"))


def taken(client, volume, pool, **settings):
    request = Request(client, volume, pool._replace(snapshots=Snapshots(**settings)), VM, "start", "kvm01")
    return request, Snapshotter().take([request], soon())


def test_state_and_lag_are_the_destinations(clients, volume, elsewhere):
    found, = mirrors(clients, volume, soon()).known
    assert (found.destination, found.state, found.healthy, found.lag, found.busy, found.synchronous) == (
        "svm_dr:kvmnfs01_dr", "snapmirrored", True, 8 * 3600, False, False)  # fmt: skip
    assert arrived(found, soon()) == frozenset()
    elsewhere.change(volumes={"kvmnfs01_dr": {"snapshots": [{"name": "there"}]}})
    assert arrived(found, soon()) == {"there"}


@pytest.mark.parametrize("source", [
    {"path": "svm_kvm:kvmnfs02", "svm": {"name": "svm_kvm"}},
    {"path": "svm_kvm:kvmnfs01", "svm": {"name": "svm_kvm", "uuid": "0f0e0d0c-0000-4000-8000-000000000000"}},
])  # fmt: skip
def test_other_volumes_are_left_alone(clients, volume, elsewhere, source):
    """Another volume, and a volume of the same names on another cluster."""
    elsewhere.state.relationships[0]["source"] = source
    assert mirrors(clients, volume, soon()).known == ()
    updated = after_snapshot(clients, volume, soon())
    assert "no array of [ontap] knows a relationship" in updated.finding.text and transfers(elsewhere) == 0


def test_an_update_is_asked_for_once_and_the_snapshot_arrives(clients, client, volume, pool, elsewhere):
    updated = after_snapshot(clients, volume, soon())
    assert updated.begun == ("svm_dr:kvmnfs01_dr",) and updated.finding is None and transfers(elsewhere) == 1


@pytest.mark.parametrize("changes, busy", [
    ({"transfer": {"state": "transferring"}}, ("svm_dr:kvmnfs01_dr",)), ({"policy": {"type": "sync"}, "state": "in_sync"}, ()),
])  # fmt: skip
def test_what_needs_no_update_is_not_asked_for_one(clients, volume, elsewhere, changes, busy):
    elsewhere.change(relationships={UUID: changes})
    updated = after_snapshot(clients, volume, soon())
    assert (updated.begun, updated.busy, updated.finding) == ((), busy, None) and transfers(elsewhere) == 0


@pytest.mark.parametrize("code, fix", [
    ("6619715", "nothing"), ("6619720", "nothing"), ("13303816", "nothing"), ("13304159", "nothing"), ("13303844", "snapmirror show"),
    ("13303812", "snapmirror initialize -destination-path svm_dr:kvmnfs01_dr"), ("262325", "multi-admin-verify"), ("6", "kvmontap role"),
])  # fmt: skip
def test_every_refusal_is_told_with_what_to_do(clients, volume, elsewhere, code, fix):
    elsewhere.faults.add("error", "POST", code=code, message="No.", status=409)
    updated = after_snapshot(clients, volume, soon())
    assert updated.begun == () and f"svm_dr:kvmnfs01_dr: No (ONTAP {code})" in updated.finding.text and fix in updated.finding.fix
    assert transfers(elsewhere) == 1


def test_a_state_that_takes_no_update(clients, volume, elsewhere):
    elsewhere.change(relationships={UUID: {"state": "broken_off"}})
    assert "not snapmirrored (ONTAP 13303844)" in after_snapshot(clients, volume, soon()).finding.text


def test_an_array_that_does_not_tell(clients, volume, elsewhere):
    elsewhere.refuse()
    updated = after_snapshot(clients, volume, soon())
    assert "array dr" in updated.finding.text and "connection refused" in updated.finding.text and "[ontap]" in updated.finding.fix


# -- behind the starts


@pytest.fixture
def keeper():
    told, faults = [], []
    made = Housekeeper(lambda report: None, faults.append, mirrored=told.append)
    made.told = told
    yield made
    assert made.wait(30) and not faults, faults
    made._clients.close()


def test_after_a_new_snapshot_where_asked(sections, client, volume, pool, elsewhere, keeper):
    config = Config(sections, {pool.name: pool}, {})
    for asked, count in ((False, 0), (True, 1), (True, 2)):
        request, outcomes = taken(client, volume, pool, label="kvm", snapmirror_update=asked)
        keeper.taken(config, [request], outcomes)
        assert keeper.wait(30) and transfers(elsewhere) == count
        keeper.taken(config, [request], [outcomes[0]._replace(reused=True)])
        assert keeper.wait(30) and transfers(elsewhere) == count
    assert [updated.begun for updated in keeper.told] == [("svm_dr:kvmnfs01_dr",)] * 2


def test_the_same_trouble_is_told_once(sections, client, volume, pool, elsewhere, keeper):
    elsewhere.state.relationships.clear()
    for _ in range(3):
        request, outcomes = taken(client, volume, pool, snapmirror_update=True)
        keeper.taken(Config(sections, {pool.name: pool}, {}), [request], outcomes)
        assert keeper.wait(30)
    assert [updated.finding.code for updated in keeper.told] == ["snapmirror.not-updated"]
