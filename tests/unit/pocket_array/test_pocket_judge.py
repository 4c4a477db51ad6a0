"""The judge catches what is wrong, and finds real answers of ONTAP right."""

import copy
import json
import os

import pytest

from tests.pocket_array.caller import DESCRIPTION, Caller
from tests.pocket_array.exchange import Answer, Exchange, Request
from tests.pocket_array.judge import Judge, description_path
from tests.pocket_array.judged import judged_array

pytestmark = pytest.mark.skipif(
    description_path() is None, reason="openapi-subset.json is not at hand (KVMONTAP_OPENAPI)"
)
UUID = "028baa66-41bd-11e9-81d5-00a0986138f7"
SNAPSHOTS = f"/api/storage/volumes/{UUID}/snapshots"
JOB = {"job": {"uuid": UUID, "_links": {"self": {"href": f"/api/cluster/jobs/{UUID}"}}}}


@pytest.fixture(scope="module")
def judge():
    return Judge.at_hand()


def verdict(
    judge, method, path, query=(), body=None, status=200, answer=None, headers=(), faults=()
):
    exchange = Exchange(
        Request(1, method, path, query, body), Answer(status, answer, headers), faults
    )
    return [(each.side, each.where) for each in judge.judge(exchange)]


def test_what_is_right(judge):
    record = {"uuid": UUID, "name": "v", "state": "online", "_links": {"self": {"href": "/api/x"}}}
    assert (
        verdict(
            judge,
            "GET",
            "/api/storage/volumes",
            (
                ("fields", "*,nas.path,space.available"),
                ("name", "v*|!w"),
                ("snapshot_count", ">5"),
                ("order_by", "name desc"),
            ),
            answer={"num_records": 1, "records": [record]},
        )
        == []
    )
    assert (
        verdict(
            judge,
            "POST",
            SNAPSHOTS,
            (("return_timeout", "15"),),
            {"name": "s", "comment": "{}"},
            202,
            JOB,
            (("Location", "/x"),),
        )
        == []
    )


@pytest.mark.parametrize(
    "query, where",
    [
        ((("nmae", "v"),), "nmae"),
        ((("nas.path", ""),), "nas.path"),
        ((("fields", "space.availabel"),), "fields"),
        ((("fields", "name,colour"),), "fields"),
        ((("order_by", "colour"),), "order_by"),
        ((("max_records", "many"),), "max_records"),
        ((("return_timeout", "121"),), "return_timeout"),
        ((("return_records", "perhaps"),), "return_records"),
    ],
)
def test_wrong_queries(judge, query, where):
    found = verdict(
        judge, "GET", "/api/storage/volumes", query, answer={"num_records": 0, "records": []}
    )
    assert found == [("request", where)]


@pytest.mark.parametrize(
    "body, where",
    [
        ({"nmae": "s"}, "body"),
        ({"name": 5}, "body.name"),
        ({"name": "s", "uuid": UUID}, "body.uuid"),
        ({"name": "s", "snapmirror_label": "l" * 32}, "body.snapmirror_label"),
        ({"name": "s", "expiry_time": "tomorrow"}, "body.expiry_time"),
        ({"name": "s", "snaplock": {"expired": True}}, "body.snaplock.expired"),
    ],
)
def test_wrong_bodies(judge, body, where):
    assert verdict(judge, "POST", SNAPSHOTS, (), body, 202, JOB, (("Location", "/x"),)) == [
        ("request", where)
    ]


def test_calls_that_there_are_not(judge):
    assert verdict(judge, "GET", "/api/storage/volums", answer={}) == [("request", "path")]
    assert verdict(judge, "POST", "/api/cluster/jobs", answer={}) == [("request", "path")]
    assert verdict(judge, "GET", "/other", answer={}) == [("request", "path")]


RIGHT = {
    "num_records": 1,
    "records": [
        {
            "uuid": UUID,
            "_links": {},
            "state": "valid",
            "size": 5,
            "create_time": "2026-01-01T00:00:00+00:00",
        }
    ],
}


@pytest.mark.parametrize(
    "change, where",
    [
        ({"state": "lovely"}, "body.records[0].state"),
        ({"size": "5"}, "body.records[0].size"),
        ({"colour": "red"}, "body.records[0]"),
        ({"create_time": "2026-01-01"}, "body.records[0].create_time"),
        ({"owners": "me"}, "body.records[0].owners"),
        ({"svm": {"nmae": "x"}}, "body.records[0].svm"),
        ({"_links": {"self": {"ref": "x"}}}, "body.records[0]._links.self"),
    ],
)
def test_wrong_answers(judge, change, where):
    answer = copy.deepcopy(RIGHT)
    assert verdict(judge, "GET", SNAPSHOTS, answer=answer) == []
    answer["records"][0].update(change)
    assert verdict(judge, "GET", SNAPSHOTS, answer=answer) == [("answer", where)]
    assert verdict(judge, "GET", SNAPSHOTS, answer=answer, faults=("unknown-enum",)) == []


def test_answers_that_do_not_hang_together(judge):
    assert verdict(judge, "GET", SNAPSHOTS, answer={**RIGHT, "num_records": 2}) == [
        ("answer", "body.num_records")
    ]
    assert verdict(
        judge, "GET", SNAPSHOTS, answer={"num_records": 1, "records": [{"uuid": UUID}]}
    ) == [("answer", "body.records[0]")]
    assert verdict(judge, "POST", SNAPSHOTS, body={"name": "s"}, status=202, answer=JOB) == [
        ("answer", "header Location")
    ]
    assert verdict(
        judge,
        "POST",
        SNAPSHOTS,
        body={"name": "s"},
        status=202,
        answer={},
        headers=(("Location", "/x"),),
    ) == [("answer", "body.job")]
    assert verdict(judge, "GET", SNAPSHOTS, status=204) == [("answer", "status")]
    assert verdict(judge, "GET", SNAPSHOTS, answer="text") == [("answer", "body")]


def test_errors_have_a_code_of_their_call(judge):
    def said(code, **options):
        return verdict(
            judge,
            "DELETE",
            f"{SNAPSHOTS}/{UUID}",
            status=409,
            answer={"error": {"code": code, "message": "no"}},
            **options,
        )

    assert said("1638555") == []
    assert said("525062") == [("answer", "error.code")]
    assert said("525062", faults=("error",)) == []
    assert verdict(judge, "GET", SNAPSHOTS, status=500, answer={"oops": 1}) == [
        ("answer", "error.code"),
        ("answer", "error.message"),
        ("answer", "body"),
    ]


def test_a_failed_job_has_a_code_of_the_call_that_began_it(judge):
    job = {
        "uuid": UUID,
        "state": "failure",
        "description": f"POST {SNAPSHOTS}",
        "code": 1,
        "start_time": "2026-01-01T00:00:00+00:00",
        "error": {"code": "1638555", "message": "m"},
    }
    path = f"/api/cluster/jobs/{UUID}"
    assert verdict(judge, "GET", path, answer=job) == [("answer", "error.code")]
    assert verdict(judge, "GET", path, answer={**job, "description": f"DELETE {SNAPSHOTS}/x"}) == []


@pytest.mark.parametrize(
    "name, path",
    [("volume-1.json", "/api/storage/volumes"), ("ems.json", "/api/support/ems/events")],
)
def test_what_was_recorded_from_real_arrays_is_right(judge, name, path):
    recorded = os.path.join(os.path.dirname(description_path()), "recorded", name)
    if not os.path.exists(recorded):
        pytest.skip(f"recorded/{name} is not at hand")
    with open(recorded, encoding="utf-8") as text:
        data = json.load(text)["data"]
    assert data["records"] and verdict(judge, "GET", path, answer=data) == []


def test_a_wrong_request_fails_the_test_that_sent_it():
    with pytest.raises(AssertionError, match="request GET /api/svm/svms: nmae"):
        with judged_array(DESCRIPTION) as array:
            assert Caller(array)("GET", "/api/svm/svms", nmae="x")[0] == 400


def test_a_wrong_answer_fails_the_test_that_got_it():
    with pytest.raises(AssertionError, match=r"answer GET /api/svm/svms: body.records\[0\].state"):
        with judged_array(DESCRIPTION) as array:
            array.change(svms={"svm_kvm": {"state": "dancing"}})
            Caller(array)("GET", "/api/svm/svms", fields="state")


def test_a_right_test_is_judged_all_along():
    with judged_array(DESCRIPTION) as array:
        Caller(array)("GET", "/api/cluster")
        assert array.judge.seen == 1 and not array.judge.violations
