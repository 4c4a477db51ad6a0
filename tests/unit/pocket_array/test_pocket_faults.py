"""Faults on demand, as a caller meets them."""

import http.client
import json
import socket
import ssl
import threading
import time

import pytest

from tests.pocket_array.caller import Caller

SNAPSHOTS = "/api/storage/volumes/{}/snapshots"


def test_a_fault_strikes_what_it_is_for_and_as_often_as_it_says(array, call):
    array.faults.add("status", method="GET", path="/api/storage/*", count=2, status=503)
    assert call("GET", "/api/cluster")[0] == 200
    for _ in range(2):
        connection = Caller(array).connection()
        connection.request("GET", "/api/storage/volumes", headers={"Authorization": call.login})
        answer = connection.getresponse()
        assert answer.status == 503 and answer.read().startswith(b"<html>")
        connection.close()
    assert call("GET", "/api/storage/volumes")[0] == 200
    assert array.faults.rows()[0]["hits"] == 2


def test_slow(array, call):
    array.faults.add("slow", seconds=0.3, count=1)
    began = time.monotonic()
    assert call("GET", "/api/cluster")[0] == 200
    assert time.monotonic() - began >= 0.3


def test_silent_until_the_caller_gives_up(array):
    array.faults.add("silent", path="/api/cluster")
    with pytest.raises(TimeoutError):
        Caller(array, seconds=2)("GET", "/api/cluster")
    assert [each.status for each in array.log.entries()] == [None]


def test_silent_is_over_when_it_is_cleared(array, call):
    array.faults.add("silent")
    ended = []

    def ask():
        try:
            call("GET", "/api/cluster")
        except http.client.RemoteDisconnected as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    array.log.wait_for(1)
    array.faults.clear()
    asking.join(5)
    assert len(ended) == 1 and call("GET", "/api/cluster")[0] == 200


@pytest.mark.parametrize("kind", ["silent", "closed", "reset"])
def test_the_work_may_be_done_although_nobody_hears_of_it(array, volume, kind):
    array.faults.add(kind, method="POST", when="after")
    with pytest.raises((OSError, http.client.HTTPException)):
        Caller(array, seconds=2)(
            "POST", SNAPSHOTS.format(volume), {"name": "s"}, return_timeout="5"
        )
    assert [each.name for each in array.state.volumes[volume].snapshots.values()] == ["s"]


@pytest.mark.parametrize("kind", ["silent", "closed", "reset"])
def test_before_the_work_nothing_is_done(array, volume, kind):
    array.faults.add(kind, method="POST")
    with pytest.raises((OSError, http.client.HTTPException)):
        Caller(array, seconds=2)(
            "POST", SNAPSHOTS.format(volume), {"name": "s"}, return_timeout="5"
        )
    assert array.state.volumes[volume].snapshots == {}


def test_closed_and_reset_differ(array, call):
    array.faults.add("closed", count=1)
    with pytest.raises(http.client.RemoteDisconnected):
        call("GET", "/api/cluster")
    array.faults.add("reset", count=1)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead, ssl.SSLError)):
        call("GET", "/api/cluster")
    assert call("GET", "/api/cluster")[0] == 200


def test_refused_and_back(array, call):
    port = array.port
    array.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)
    array.listen()
    assert array.port == port and call("GET", "/api/cluster")[0] == 200


def test_mute_and_back(array, call):
    array.mute()
    with pytest.raises(TimeoutError):
        Caller(array, seconds=0.5)("GET", "/api/cluster")
    with socket.create_connection(("127.0.0.1", array.port)) as waiting:
        array.mute()  # once more changes nothing
        array.listen()
        assert waiting.recv(1) == b""
    assert call("GET", "/api/cluster")[0] == 200


def test_any_order_of_mute_refuse_and_listen(array, call):
    for steps in ("mr", "rm", "mmr", "rrm", "mrm"):
        for step in steps:
            (array.mute if step == "m" else array.refuse)()
        array.listen()
        assert call("GET", "/api/cluster")[0] == 200


# ssl.SSLSocket._create() of CPython 3.11 forgets to close its socket where the peer's reset comes between connect() and the handshake.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_mute_while_callers_come_and_go(array):
    """Connections that are just being taken are broken too, whatever the moment."""
    stop = threading.Event()
    answered = []

    def come_and_go():
        while not stop.is_set():
            try:
                answered.append(Caller(array, seconds=5)("GET", "/api/cluster")[0])
            except (OSError, http.client.HTTPException):
                pass

    callers = [threading.Thread(target=come_and_go) for _ in range(4)]
    for each in callers:
        each.start()
    for _ in range(10):
        array.mute()
        array.listen()
        array.refuse()
        array.listen()
    stop.set()
    for each in callers:
        each.join(30)
    assert not any(each.is_alive() for each in callers) and set(answered) <= {200}


def test_refusing_breaks_connections_that_are_open(array):
    connection = Caller(array).connection()
    connection.request("GET", "/api/cluster", headers={"Authorization": Caller(array).login})
    assert connection.getresponse().read()
    array.refuse()
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.request("GET", "/api/cluster")
        connection.getresponse()
    connection.close()


def test_not_json_and_cut(array, call):
    array.faults.add("not-json", count=1)
    with pytest.raises(json.JSONDecodeError):
        call("GET", "/api/cluster")
    array.faults.add("cut-json", count=1)
    with pytest.raises(json.JSONDecodeError):
        call("GET", "/api/cluster")
    array.faults.add("cut", count=1)
    with pytest.raises(http.client.IncompleteRead):
        call("GET", "/api/cluster")


def test_unknown_enum_and_no_links(array, call, volume):
    array.faults.add("unknown-enum", count=2)
    assert (
        call("GET", "/api/storage/volumes", fields="state")[1]["records"][0]["state"]
        == "unheard_of"
    )
    assert call("GET", f"/api/storage/volumes/{volume}")[1]["state"] == "unheard_of"
    array.faults.add("unknown-enum", count=1, field="anti_ransomware.state", value="odd")
    seen = call("GET", f"/api/storage/volumes/{volume}", fields="anti_ransomware")[1]
    assert seen["anti_ransomware"]["state"] == "odd"
    array.faults.add("no-links", count=1)
    assert "_links" not in json.dumps(call("GET", "/api/storage/volumes", fields="svm")[1])
    assert array.state.volumes[volume].state == "online"
    assert array.state.volumes[volume].anti_ransomware == {"state": "disabled"}


def test_jobs_that_fail(array, call, volume, finished):
    array.faults.add("job-failure", count=1, code="1638532", message="a revert is in progress")
    job = finished(call("POST", SNAPSHOTS.format(volume), {"name": "s"})[1])
    assert (job["state"], job["error"]["code"], job["message"]) == (
        "failure",
        "1638532",
        "a revert is in progress",
    )
    array.faults.add("limit", count=1)
    status, body, _ = call("POST", SNAPSHOTS.format(volume), {"name": "s"}, return_timeout="5")
    assert (status, body["error"]["code"]) == (409, "525062")
    assert array.state.volumes[volume].snapshots == {}


def test_approval_and_other_errors(array, call, volume):
    array.faults.add("approval", method="DELETE")
    status, body, _ = call("DELETE", SNAPSHOTS.format(volume) + "/x")
    assert (status, body["error"]["code"]) == (403, "262325")
    array.faults.add("error", method="GET", status=500, code="77", message="broken", target="t")
    status, body, _ = call("GET", "/api/cluster")
    assert status == 500 and body == {"error": {"code": "77", "message": "broken", "target": "t"}}


def test_jobs_that_take_long_or_are_lost(array, call, volume, finished):
    array.faults.add("job-slow", count=1, seconds=600)
    body = call("POST", SNAPSHOTS.format(volume), {"name": "s"})[1]
    assert call("GET", body["job"]["_links"]["self"]["href"])[1]["state"] in ("queued", "running")
    array.faults.clear()
    assert finished(body)["state"] == "success"
    array.faults.add("job-lost", count=1)
    body = call("POST", SNAPSHOTS.format(volume), {"name": "t"})[1]
    assert call("GET", body["job"]["_links"]["self"]["href"])[0] == 404


@pytest.mark.parametrize("form", ["wrong", "none"])
def test_wrong_locations(array, call, volume, form):
    array.faults.add("location", form=form)
    headers = call("POST", SNAPSHOTS.format(volume), {"name": "s"}, return_timeout="5")[2]
    assert ("Location" in headers) is (form == "wrong")


@pytest.mark.parametrize(
    "kind, options",
    [
        ("nothing", {}),
        ("slow", {}),
        ("slow", {"seconds": 1, "colour": 1}),
        ("silent", {"when": "never"}),
        ("location", {"form": "odd"}),
    ],
)
def test_faults_that_there_are_not(array, kind, options):
    with pytest.raises(ValueError):
        array.faults.add(kind, **options)


def test_stop_ends_everything_that_hangs(array, volume):
    """The leak fixture looks at what is left; here that it does not take long."""
    array.faults.add("silent", path="/api/cluster")
    array.faults.add("slow", path="/api/svm/svms", seconds=60)
    array.change(array={"job_seconds": 60})
    Caller(array)("POST", SNAPSHOTS.format(volume), {"name": "s"})

    def ask(path):
        with pytest.raises((OSError, http.client.HTTPException)):
            for _ in range(2):  # what is slow may be answered when the array stops; the next is not
                Caller(array, seconds=30)("GET", path)

    asking = [
        threading.Thread(target=ask, args=(path,)) for path in ("/api/cluster", "/api/svm/svms")
    ]
    for each in asking:
        each.start()
    array.log.wait_for(2, "GET")
    began = time.monotonic()
    array.stop()
    for each in asking:
        each.join(5)
    assert time.monotonic() - began < 20
