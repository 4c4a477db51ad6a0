"""What the array says of its SVMs, volumes, snapshots, LIFs and shares; every exchange is judged."""

from datetime import datetime, timedelta, timezone

import pytest

VOLUMES = "/api/storage/volumes"


def snapshots(uuid, one=""):
    return f"{VOLUMES}/{uuid}/snapshots" + (f"/{one}" if one else "")


def taken(call, uuid, name="snap", wait="15", **fields):
    return call("POST", snapshots(uuid), {"name": name, **fields}, return_timeout=wait)


def first(call, uuid, **query):
    return call("GET", snapshots(uuid), **query)[1]["records"][0]


def test_the_cluster_has_a_version(call):
    status, body, _ = call("GET", "/api/cluster")
    assert status == 200 and body["version"]["generation"] == 9 and body["name"] == "pocket"


def test_a_volume_is_found_by_junction_path_and_svm(call, volume):
    status, body, _ = call("GET", VOLUMES, nas__path="/kvmnfs01", svm__name="svm_kvm")
    assert status == 200
    assert body["records"] == [
        {"uuid": volume, "name": "kvmnfs01", "_links": {"self": {"href": f"{VOLUMES}/{volume}"}}}
    ]


def test_without_the_svm_two_volumes_have_that_name(call):
    assert call("GET", VOLUMES, name="kvmnfs01")[1]["num_records"] == 2


def test_an_empty_filter_gives_everything(call, array):
    assert call("GET", VOLUMES + "?nas.path=")[1]["num_records"] == 3
    if array.judge:
        assert [each.where for each in array.judge.violations] == ["nas.path"]
        array.judge.violations.clear()


def test_star_leaves_out_the_junction_path(call, volume):
    cheap = call("GET", f"{VOLUMES}/{volume}", fields="*")[1]
    assert "path" not in cheap["nas"] and "anti_ransomware" not in cheap
    dear = call("GET", f"{VOLUMES}/{volume}", fields="nas.path,space,anti_ransomware.state,state")[
        1
    ]
    assert dear["nas"] == {"path": "/kvmnfs01"} and dear["anti_ransomware"] == {"state": "disabled"}
    gib = 2**30
    assert (dear["space"]["size"], dear["space"]["used"], dear["space"]["available"]) == (
        100 * gib,
        40 * gib,
        60 * gib,
    )


def test_offline_and_online_again(call, volume):
    assert call("PATCH", f"{VOLUMES}/{volume}", {"state": "offline"}, return_timeout="15")[0] == 200
    seen = call("GET", f"{VOLUMES}/{volume}", fields="state,space.available,nas.path")[1]
    assert seen["state"] == "offline" and "space" not in seen and seen["nas"]["path"] == "/kvmnfs01"
    status, body, _ = taken(call, volume)
    assert (status, body["error"]["code"]) == (409, "524479")
    assert call("PATCH", f"{VOLUMES}/{volume}", {"state": "online"}, return_timeout="15")[0] == 200
    assert taken(call, volume)[0] == 201


def test_a_wrong_state_is_refused(call, volume, array):
    status, body, _ = call("PATCH", f"{VOLUMES}/{volume}", {"state": "sideways"})
    assert (status, body["error"]["code"]) == (400, "918652")
    if array.judge:
        assert "sideways" in str(array.judge.violations.pop())


def test_a_job_makes_the_snapshot(call, volume, finished):
    status, body, headers = call(
        "POST",
        snapshots(volume),
        {"name": "s1", "comment": '{"vm":"x"}', "snapmirror_label": "daily"},
    )
    assert status == 202 and finished(body)["state"] == "success"
    made = call("GET", headers["Location"])[1]
    assert (made["name"], made["comment"], made["snapmirror_label"], made["state"]) == (
        "s1",
        '{"vm":"x"}',
        "daily",
        "valid",
    )
    assert call("GET", f"{VOLUMES}/{volume}", fields="snapshot_count")[1]["snapshot_count"] == 1


def test_a_failed_job_has_its_code(call, volume, finished):
    taken(call, volume, "s1")
    status, body, _ = call("POST", snapshots(volume), {"name": "s1"})
    job = finished(body)
    assert status == 202 and job["state"] == "failure" and job["code"] == 525059
    assert job["error"]["code"] == "525059" and "already exists" in job["error"]["message"]
    few = call("GET", job["_links"]["self"]["href"], fields="message,state")[1]
    assert set(few) == {"uuid", "state", "message", "_links"}


def test_states_of_a_job(call, array, volume, finished):
    array.faults.add("job-slow", seconds=600)
    status, body, _ = taken(call, volume, wait="0")
    job = call("GET", body["job"]["_links"]["self"]["href"])[1]
    assert status == 202 and job["state"] in ("queued", "running") and "end_time" not in job
    assert call("GET", snapshots(volume))[1]["num_records"] == 0
    array.faults.clear()
    assert finished(body)["end_time"]
    assert call("GET", snapshots(volume))[1]["num_records"] == 1


def test_return_timeout_waits_and_tells_at_once(call, array, volume):
    array.change(array={"job_seconds": 0.3})
    assert taken(call, volume, "a", wait="10")[0] == 201
    status, body, _ = taken(call, volume, "a", wait="10")
    assert (status, body["error"]["code"]) == (409, "525059")
    array.change(array={"job_seconds": 600})
    assert taken(call, volume, "b", wait="1")[0] == 202


def test_the_record_comes_with_the_answer_where_it_is_asked_for(call, volume):
    body = call(
        "POST", snapshots(volume), {"name": "s1"}, return_timeout="5", return_records="true"
    )[1]
    assert body["num_records"] == 1 and body["records"][0]["name"] == "s1"


@pytest.mark.parametrize("form", ["uuid", "query"])
def test_both_forms_of_location(call, array, volume, finished, form):
    array.change(array={"location": form})
    _, body, headers = call("POST", snapshots(volume), {"name": "s1"})
    assert ("?name=s1" in headers["Location"]) is (form == "query")
    finished(body)
    found = call("GET", headers["Location"])[1]
    assert (found["records"][0] if form == "query" else found)["name"] == "s1"


def test_the_limit(call, array, finished):
    uuid = array.volume("kvmnfs02").uuid
    for number in range(3):
        assert taken(call, uuid, f"s{number}")[0] == 201
    status, body, _ = taken(call, uuid, "s3")
    assert (status, body["error"]["code"]) == (409, "525062")
    array.change(volumes={"kvmnfs02": {"snapshot_limit": 1023}})
    assert taken(call, uuid, "s3")[0] == 201


def test_the_limit_is_1023_where_nothing_else_is_said(call, array, volume):
    array.state.change_volume(volume, {"snapshots": [{"name": f"old{n}"} for n in range(1022)]})
    assert taken(call, volume, "last")[0] == 201
    assert taken(call, volume, "more")[1]["error"]["code"] == "525062"


def test_full(call, array, volume):
    array.state.change_volume(volume, {"full": True})
    assert taken(call, volume)[1]["error"]["code"] == "524479"
    assert (
        call("GET", f"{VOLUMES}/{volume}", fields="space.available")[1]["space"]["available"] == 0
    )


@pytest.mark.parametrize(
    "fields, code, target",
    [
        ({"name": "a/b"}, "1638518", "name"),
        ({"name": ".."}, "1638518", "name"),
        ({"name": "a b"}, "1638518", "name"),
        ({"name": "x" * 256}, "1638518", "name"),
        ({"name": "snapmirror.x"}, "1638477", "name"),
        ({"comment": "c" * 256}, "262197", "comment"),
        ({"name": ""}, "1638518", "name"),
        ({"name": None}, "262188", "name"),
        ({"expiry_time": "soon"}, "262197", "expiry_time"),
        ({"snapmirror_label": "l" * 32}, "262197", "snapmirror_label"),
        ({"snapmirror_label": ""}, "262197", "snapmirror_label"),
        ({"colour": "red"}, "262179", "colour"),
    ],
)
def test_what_is_wrong_with_a_snapshot_is_told_at_once(call, array, volume, fields, code, target):
    body = {name: value for name, value in {"name": "fine", **fields}.items() if value is not None}
    status, said, _ = call("POST", snapshots(volume), body)
    assert (status, said["error"]["code"], said["error"]["target"]) == (400, code, target)
    if array.judge:  # it also sees what of this the description forbids
        array.judge.violations[:] = [
            each for each in array.judge.violations if each.side == "answer"
        ]


@pytest.mark.parametrize(
    "fields",
    [
        {"comment": "c" * 255},
        {"snapmirror_label": "l" * 31},
        {"name": "hourly.2026-11-23_0805"},
        {"name": "x" * 255},
    ],
)
def test_what_is_just_right(call, volume, fields):
    assert call("POST", snapshots(volume), {"name": "fine", **fields}, return_timeout="5")[0] == 201


def test_deletes(call, array, volume, finished):
    taken(call, volume, "s1")
    one = first(call, volume)["uuid"]
    assert finished(call("DELETE", snapshots(volume, one))[1])["state"] == "success"
    assert call("GET", snapshots(volume, one))[1]["error"]["code"] == "4"
    status, body, _ = call("DELETE", snapshots(volume, one), return_timeout="5")
    assert (status, body["error"]["code"]) == (404, "1638600")


def test_an_owner_keeps_it(call, array, volume):
    array.state.change_volume(volume, {"snapshots": [{"name": "o", "owners": ["snapmirror"]}]})
    assert first(call, volume, fields="owners")["owners"] == ["snapmirror"]
    one = first(call, volume)["uuid"]
    assert (
        call("DELETE", snapshots(volume, one), return_timeout="5")[1]["error"]["code"] == "1638543"
    )


@pytest.mark.parametrize("field", ["expiry_time", "snaplock_expiry_time", "snaplock"])
def test_a_lock_keeps_it_until_it_expires(call, array, volume, field):
    array.state.change_volume(volume, {"snapshot_locking_enabled": True})
    clock = datetime.now(timezone.utc)
    until = (clock + timedelta(days=2)).isoformat()
    assert (
        taken(
            call, volume, "l", **{field: {"expiry_time": until} if field == "snaplock" else until}
        )[0]
        == 201
    )
    one = first(call, volume)["uuid"]
    assert (
        call("DELETE", snapshots(volume, one), return_timeout="5")[1]["error"]["code"] == "1638555"
    )
    array.state.now = lambda: clock + timedelta(days=3)
    assert call("DELETE", snapshots(volume, one), return_timeout="5")[0] == 200


def test_no_lock_where_the_volume_has_none(call, volume):
    status, body, _ = taken(call, volume, snaplock={"expiry_time": "2030-01-01T00:00:00+00:00"})
    assert (status, body["error"]["code"]) == (400, "1638618")


def test_rename_and_comment(call, volume):
    taken(call, volume, "old")
    taken(call, volume, "other")
    one = first(call, volume, name="old")["uuid"]
    assert (
        call("PATCH", snapshots(volume, one), {"name": "new", "comment": "c"}, return_timeout="5")[
            0
        ]
        == 200
    )
    assert call("GET", snapshots(volume, one), fields="comment")[1]["comment"] == "c"
    assert first(call, volume, name="new")["uuid"] == one


def test_snapshots_are_filtered_and_paged(call, array, volume):
    array.state.change_volume(
        volume,
        {
            "snapshots": [
                {"name": f"kvmontap-{n}", "create_time": f"2026-01-0{n}T00:00:00+00:00"}
                for n in range(1, 8)
            ]
        },
    )
    page = call(
        "GET", snapshots(volume), name="kvmontap-*", max_records="3", order_by="create_time desc"
    )[1]
    seen = [each["name"] for each in page["records"]]
    while "next" in page["_links"]:
        page = call("GET", page["_links"]["next"]["href"])[1]
        seen += [each["name"] for each in page["records"]]
    assert seen == [f"kvmontap-{n}" for n in range(7, 0, -1)]


def test_lifs(call, array):
    array.change(lifs={"lif2": {"state": "down", "node": "node1"}})
    rows = call(
        "GET",
        "/api/network/ip/interfaces",
        svm__name="svm_kvm",
        fields="ip.address,state,enabled,location.is_home",
    )[1]["records"]
    assert [
        (each["ip"]["address"], each["state"], each["location"]["is_home"]) for each in rows
    ] == [("172.21.35.11", "up", True), ("172.21.36.11", "down", False)]
    one = call("GET", rows[1]["_links"]["self"]["href"])[1]
    assert one["location"]["home_node"]["name"] == "node2"


def test_svms(call, array):
    array.change(svms={"svm_kvm": {"state": "stopped"}})
    row = call("GET", "/api/svm/svms", name="svm_kvm", fields="state")[1]["records"][0]
    assert row["state"] == "stopped"
    assert call("GET", row["_links"]["self"]["href"], fields="*")[1]["subtype"] == "default"


def test_a_share_leads_to_its_volume(call, array):
    row = call(
        "GET",
        "/api/protocols/cifs/shares",
        name="kvmsmb01",
        svm__name="svm_kvm",
        fields="path,volume",
    )[1]["records"][0]
    assert row["path"] == "/kvmnfs02/smb" and row["volume"]["name"] == "kvmnfs02"


def test_a_share_belongs_to_the_deepest_volume_above_it(call, array):
    array.change(
        add={
            "volumes": [{"name": "root", "svm": "svm_kvm", "path": "/"}],
            "shares": [
                {"name": name, "svm": "svm_kvm", "path": path}
                for name, path in (
                    ("a", "/elsewhere"),
                    ("b", "/kvmnfs01"),
                    ("c", "/kvmnfs011"),
                    ("d", "/"),
                )
            ],
        }
    )
    rows = call("GET", "/api/protocols/cifs/shares", name="a|b|c|d", fields="volume.name")[1][
        "records"
    ]
    assert [row["volume"]["name"] for row in rows] == ["root", "kvmnfs01", "root", "root"]


def test_the_rest_of_what_is_only_read(call):
    assert (
        call("GET", "/api/storage/aggregates", fields="state")[1]["records"][0]["state"] == "online"
    )
    assert call("GET", "/api/protocols/nfs/export-policies", fields="*")[1]["num_records"] == 2
    row = call(
        "GET",
        "/api/snapmirror/relationships",
        fields="healthy,lag_time,state",
        source__path="svm_kvm:kvmnfs01",
    )[1]["records"][0]
    assert row["healthy"] is True and row["lag_time"] == "PT8H"
    assert call("GET", "/api/cluster/jobs")[1]["num_records"] == 0


def test_every_field_of_every_kind_is_one_of_the_description(call, array, volume):
    """`**` shows all that the array ever says; the judge looks at it."""
    array.state.change_volume(volume, {"snapshot_locking_enabled": True})
    taken(
        call,
        volume,
        "s",
        comment="c",
        snapmirror_label="l",
        expiry_time="2030-01-01T00:00:00+00:00",
        snaplock_expiry_time="2030-01-01T00:00:00+00:00",
    )
    for path in (
        "/api/cluster",
        "/api/svm/svms",
        VOLUMES,
        snapshots(volume),
        "/api/network/ip/interfaces",
        "/api/storage/aggregates",
        "/api/snapmirror/relationships",
        "/api/cluster/jobs",
        "/api/protocols/nfs/export-policies",
        "/api/protocols/cifs/shares",
    ):
        assert call("GET", path, fields="**")[0] == 200


@pytest.mark.parametrize(
    "path, code",
    [
        (f"{VOLUMES}/nobody", "4"),
        (f"{VOLUMES}/nobody/snapshots", "918235"),
        ("/api/svm/svms/nobody", "4"),
        ("/api/network/ip/interfaces/nobody", "4"),
        ("/api/cluster/jobs/nobody", "4"),
    ],
)
def test_what_is_not_there(call, path, code):
    status, body, _ = call("GET", path)
    assert (status, body["error"]["code"]) == (404, code)


def test_what_is_not_spoken(call, array):
    assert call("GET", "/api/nothing/of/the/kind")[1]["error"]["code"] == "3"
    assert call("PATCH", "/api/cluster/jobs")[0] == 405
    if array.judge:
        assert array.judge.violations.pop(0).what == "the description has no such call"


def test_a_body_that_is_no_json(call, volume):
    status, body, _ = call("POST", snapshots(volume), raw=b"{name: ")
    assert status == 400 and body["error"]["message"] == "Invalid JSON input."


def test_a_body_that_is_no_object(call, array, volume):
    assert call("POST", snapshots(volume), raw=b"[1]")[0] == 400
    if array.judge:
        assert "not of type 'object'" in array.judge.violations.pop().what
