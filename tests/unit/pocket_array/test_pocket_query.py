"""Filters, fields, order and pages, without a server."""

import pytest

from tests.pocket_array.exchange import ApiError, Request
from tests.pocket_array.query import Collection, list_answer, matches, one_answer, values_at

PEOPLE = Collection(
    "/api/people",
    ("uuid", "name"),
    frozenset("uuid name age nas tags state parts".split()),
    ("nas.path", "parts.*"),
    lambda row: f"/api/people/{row['uuid']}",
)
ROWS = [
    {"uuid": "1", "name": "ann", "age": 30, "nas": {"path": "/a", "gid": 4}, "tags": ["x", "y"]},
    {
        "uuid": "2",
        "name": "bob",
        "age": 4,
        "nas": {"path": "/b"},
        "state": "on",
        "parts": [{"name": "p1", "size": 1}, {"name": "p2", "size": 2}],
    },
    {"uuid": "3", "name": "an*n", "age": 100, "tags": ["z"], "state": None},
]


def ask(**query):
    pairs = tuple((name.replace("__", "."), value) for name, value in query.items())
    return list_answer(PEOPLE, ROWS, Request(1, "GET", "/api/people", pairs)).body


def names(**query):
    return [each["name"] for each in ask(**query)["records"]]


@pytest.mark.parametrize(
    "values, text, fits",
    [
        (["vol1"], "vol1", True),
        (["vol1"], "vol", False),
        (["vol1"], "vol*", True),
        (["vol1"], "vol2|vol1", True),
        (["vol1"], "vol2,vol1", True),
        (["vol1"], "!vol1", False),
        (["vol1"], "!vol2", True),
        (["vol1"], "!vol2|vol3", False),
        ([], "null", True),
        (["a"], "null", False),
        (["a"], "!null", True),
        ([], "!null", False),
        ([5], ">4", True),
        ([5], ">=5", True),
        ([5], "<5", False),
        ([10], "<5", False),
        ([5], "3..5", True),
        ([6], "3..5", False),
        ([True], "true", True),
        (["a*b"], '"a*b"', True),
        (["axb"], '"a*b"', False),
        (["a|b"], '"a|b"', True),
        (["a*b"], "a\\*b", True),
        (["axb"], "a\\*b", False),
        (["x", "y"], "y", True),
        (["x", "y"], "!y", False),
        (["2026-01-01T00:00:00+00:00"], "<2026-06-01T00:00:00+00:00", True),
        (["a.b"], "a.b", True),
        (["axb"], "a.b", False),
        (["/x y"], "/x y", True),
        ([], "a", False),
        ([], "!a", True),
    ],
)
def test_a_filter_fits(values, text, fits):
    assert matches(values, text) is fits


def test_a_list_gives_identities_and_links_only():
    assert ask()["records"][0] == {
        "uuid": "1",
        "name": "ann",
        "_links": {"self": {"href": "/api/people/1"}},
    }


def test_star_leaves_out_what_is_expensive_and_naming_it_brings_it():
    assert ask(fields="*")["records"][0]["nas"] == {"gid": 4}
    assert "parts" not in ask(fields="*")["records"][1]
    assert ask(fields="nas.path")["records"][0]["nas"] == {"path": "/a"}
    assert ask(fields="nas")["records"][0]["nas"] == {"path": "/a", "gid": 4}
    assert ask(fields="*,nas.path")["records"][0]["nas"] == {"path": "/a", "gid": 4}
    assert ask(fields="**")["records"][1]["parts"][1] == {"name": "p2", "size": 2}
    assert ask(fields="parts.name")["records"][1]["parts"] == [{"name": "p1"}, {"name": "p2"}]
    assert "age" not in ask(fields="*,!age")["records"][0]


def test_one_record_gives_all_but_the_expensive():
    body = one_answer(PEOPLE, ROWS[0], Request(1, "GET", "/api/people/1")).body
    assert body["age"] == 30 and body["nas"] == {"gid": 4}


def test_filters_work_together_and_an_empty_one_does_not():
    assert names(age=">10", tags="x") == ["ann"]
    assert names(parts__size="2") == ["bob"]
    assert names(nas__path="") == ["ann", "bob", "an*n"]
    assert names(nas__path="/b") == ["bob"]
    assert names(state="null") == ["ann", "an*n"]


def test_order():
    assert names(order_by="age") == ["bob", "ann", "an*n"]
    assert names(order_by="age desc") == ["an*n", "ann", "bob"]
    assert names(order_by="name") == ["an*n", "ann", "bob"]


def test_pages_are_followed_by_their_links():
    first = ask(max_records="2", order_by="age")
    assert first["num_records"] == 2
    assert (
        "start.index=2" in first["_links"]["next"]["href"]
        and "order_by=age" in first["_links"]["next"]["href"]
    )
    last = ask(max_records="2", order_by="age", start__index="2")
    assert [each["name"] for each in last["records"]] == ["an*n"] and "next" not in last["_links"]


def test_records_may_be_left_out():
    body = ask(return_records="false", name="ann")
    assert body["num_records"] == 1 and "records" not in body


@pytest.mark.parametrize(
    "query, code",
    [
        ({"height": "3"}, "262179"),
        ({"fields": "height"}, "262197"),
        ({"order_by": "height"}, "262197"),
        ({"max_records": "x"}, "262197"),
        ({"max_records": "0"}, "262197"),
        ({"return_timeout": "121"}, "262197"),
        ({"return_records": "maybe"}, "262197"),
    ],
)
def test_what_is_wrong_with_a_query_is_told(query, code):
    with pytest.raises(ApiError) as caught:
        ask(**query)
    assert (caught.value.status, caught.value.code) == (400, code)


def test_values_are_found_through_lists():
    assert values_at({"a": [{"b": 1}, {"b": [2, 3]}, {}]}, "a.b") == [1, 2, 3]
