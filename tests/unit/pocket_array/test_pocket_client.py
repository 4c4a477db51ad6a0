"""The real netapp_ontap client against the array."""

import threading

import pytest
from netapp_ontap import HostConnection, NetAppRestError
from netapp_ontap.resources import CifsShare, Cluster, IpInterface, Job, Snapshot, Svm, Volume


@pytest.fixture
def connection(array):
    with HostConnection(
        "127.0.0.1",
        port=array.port,
        username="admin",
        password="hush-admin",
        verify=array.ca,
        poll_interval=1,
    ) as made:
        yield made
        made.session.close()


def snapshot(volume, name):
    made = Snapshot(volume)
    made.name = name
    return made


def test_snapshot_post_get_delete(connection, volume):
    made = snapshot(volume, "s1")
    made.comment = '{"vm": "x"}'
    assert not made.post().is_err
    again = Snapshot.find(volume, name="s1")
    again.get(fields="comment,create_time")
    assert again.uuid == made.uuid and again.comment == '{"vm": "x"}'
    again.delete()
    assert Snapshot.count_collection(volume) == 0


@pytest.mark.parametrize("form", ["uuid", "query"])
def test_the_client_finds_its_record_by_either_location(array, connection, volume, form):
    array.change(array={"location": form, "job_seconds": 0.2})
    made = snapshot(volume, "s1")
    made.post()
    assert made.uuid in array.state.volumes[volume].snapshots


def test_volume_find(connection, volume):
    found = Volume.find(
        **{"nas.path": "/kvmnfs01", "svm.name": "svm_kvm", "fields": "nas.path,state,space"}
    )
    assert (found.uuid, found.state, found.nas.path) == (volume, "online", "/kvmnfs01")
    assert Volume.find(name="nobody") is None
    with pytest.raises(NetAppRestError, match="Only 1 resource"):
        Volume.find(name="kvmnfs01")


def test_the_client_loses_the_code_of_a_failed_job_and_the_job_keeps_it(connection, volume):
    snapshot(volume, "s1").post()
    with pytest.raises(NetAppRestError) as caught:
        snapshot(volume, "s1").post()
    assert caught.value.status_code is None and "already exists" in str(caught.value)
    answer = snapshot(volume, "s1").post(poll=False)
    job = Job(uuid=answer.http_response.json()["job"]["uuid"])
    while job.get().http_response.json()["state"] not in ("success", "failure"):
        pass
    assert job.error.code == "525059"


def test_return_timeout_keeps_the_code(connection, volume):
    snapshot(volume, "s1").post(return_timeout=15)
    with pytest.raises(NetAppRestError) as caught:
        snapshot(volume, "s1").post(return_timeout=15)
    assert (
        caught.value.status_code == 409 and caught.value.response_body["error"]["code"] == "525059"
    )


def test_everything_parses(connection, array, volume):
    cluster = Cluster()
    cluster.get()
    assert cluster.version.generation == 9
    assert Svm.find(name="svm_kvm").state == "running"
    assert [lif.ip.address for lif in IpInterface.get_collection(fields="ip.address")] == [
        "172.21.35.11",
        "172.21.36.11",
    ]
    assert CifsShare.find(name="kvmsmb01").volume.name == "kvmnfs02"
    array.state.change_volume(volume, {"snapshots": [{"name": f"n{n}"} for n in range(25)]})
    assert len(list(Snapshot.get_collection(volume, max_records=10))) == 25


def test_offline_and_back(connection, volume):
    one = Volume(uuid=volume)
    one.get()
    one.state = "offline"
    one.patch()
    one.get()
    assert one.state == "offline"


def test_certificate_login(array, volume):
    pair = array.authority.client("admin")
    with HostConnection(
        "127.0.0.1", port=array.port, cert=pair.certificate, key=pair.key, verify=array.ca
    ) as made:
        snapshot(volume, "by-certificate").post()
        made.session.close()
    assert {each.user for each in array.log.entries()} == {"admin"}


def test_a_certificate_that_is_not_trusted_is_refused(array):
    with HostConnection(
        "127.0.0.1", port=array.port, username="admin", password="hush-admin", verify=True
    ) as made:
        with pytest.raises(
            NetAppRestError, match="CERTIFICATE_VERIFY_FAILED|certificate verify failed"
        ):
            Cluster().get()
        made.session.close()


def test_a_silent_array_can_be_bounded(array, volume):
    array.faults.add("silent")
    with HostConnection(
        "127.0.0.1", port=array.port, username="admin", password="hush-admin", verify=array.ca
    ) as made:
        made.protocol_timeouts = (1, 1)
        for adapter in made.session.adapters.values():
            adapter.max_retries = adapter.max_retries.new(total=0, read=0, connect=0)
        with pytest.raises(NetAppRestError):
            Cluster().get()
        made.session.close()


def test_twenty_threads(array, volume):
    """Each takes, looks at and deletes its own; nothing is mixed up, nothing is left."""
    wrong = []

    def work(number):
        try:
            with HostConnection(
                "127.0.0.1",
                port=array.port,
                username="admin",
                password="hush-admin",
                verify=array.ca,
            ) as made:
                for turn in range(5):
                    one = snapshot(volume, f"t{number}-{turn}")
                    one.post(return_timeout=30)
                    seen = Snapshot(volume, uuid=one.uuid)
                    seen.get()
                    if seen.name != f"t{number}-{turn}":
                        wrong.append(seen.name)
                    if turn % 2:
                        one.delete(return_timeout=30)
                made.session.close()
        except Exception as error:  # a thread's error must reach the test
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    left = {each.name for each in array.state.volumes[volume].snapshots.values()}
    assert left == {f"t{number}-{turn}" for number in range(20) for turn in (0, 2, 4)}
