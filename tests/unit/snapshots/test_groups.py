"""Snapshots of consistency groups: two phases, one phase, no group; what is killed in between; retention on all volumes at once."""

import json
import os
import subprocess
import sys
import time

import pytest

from kvmontap.array import look
from kvmontap.array.groups import Group, covering, groups
from kvmontap.array.state import VolumeRef
from kvmontap.model import Domain, Snapshots
from kvmontap.snapshots import Request, Snapshotter, grouped, naming
from kvmontap.snapshots.prune import prune
from kvmontap.snapshots.retention import Policy
from tests.pocket_array import PocketArray, groupstate
from tests.unit.array import over_https
from tests.unit.array.over_https import client, judge, pool, section, soon  # noqa: F401
from tests.unit.snapshots.test_retention import DAY, iso

VM = Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ())
PATH = "/api/application/consistency-groups"
DESCRIPTION = {
    **over_https.DESCRIPTION,
    "volumes": [*over_https.DESCRIPTION["volumes"], {"name": "beside", "svm": "svm_kvm"}],
    "consistency_groups": [
        {"name": "whole", "svm": "svm_kvm", "groups": [
            {"name": "two", "volumes": ["kvmnfs01", "kvmnfs02"]}, {"name": "one", "volumes": ["beside"]}]},
    ],
}  # fmt: skip


@pytest.fixture
def pocket(authority, judge):  # noqa: F811
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        yield array


@pytest.fixture
def request_of(client, pool):  # noqa: F811
    def make(volume="kvmnfs01", scope="consistency-group", reason="start", **settings):
        wanted = pool._replace(name=volume, volume=volume, snapshot_scope=scope, snapshots=Snapshots(**settings))
        return Request(client, look(client, wanted, soon()).ref, wanted, VM, reason, "kvm01")

    return make


def names(pocket, *volumes):
    return [[one.name for one in pocket.volume(volume).snapshots.values()] for volume in volumes]


def asked(pocket, path=PATH):
    return [(entry.method, dict(entry.query).get("action", "")) for entry in pocket.log.entries(path=path)]


# -- which group


def refs(*uuids):
    return [VolumeRef(one, one, "s", "su") for one in uuids]


def test_the_smallest_group_that_holds_all_of_them():
    small, wide, other = (
        Group(name, name, frozenset((one, one) for one in held)) for name, held in (("s", "ab"), ("w", "abc"), ("o", "d")))
    known = (other, small, wide)
    assert [(group.uuid, [one.uuid for one in held]) for group, held in covering(known, refs("a", "b"))] == [("s", ["a", "b"])]
    assert [(group.uuid, [one.uuid for one in held]) for group, held in covering(known, refs("a", "c"))] == [("w", ["a", "c"])]
    assert [(group.uuid, [one.uuid for one in held]) for group, held in covering(known, refs("a", "d", "x", "b"))] == [
        ("s", ["a", "b"]), ("o", ["d"])]  # fmt: skip
    assert covering(known, refs("x")) == () and covering((), refs("a")) == ()


def test_groups_within_groups_are_seen(pocket, client):  # noqa: F811
    assert [(one.name, len(one.volumes)) for one in groups(client, "svm_kvm", soon())] == [("one", 1), ("two", 2), ("whole", 3)]


# -- made


def test_one_request_for_all_volumes_committed_and_no_fence_left(pocket, request_of):
    outcomes = Snapshotter().take([request_of("kvmnfs01", label="daily"), request_of("kvmnfs02", label="daily")], soon())
    assert all(one.finding is None and one.remark is None for one in outcomes)
    (one,), (two,), beside = names(pocket, "kvmnfs01", "kvmnfs02", "beside")
    assert one == two == outcomes[0].name == outcomes[1].name and not beside
    assert asked(pocket) == [("GET", ""), ("POST", "start"), ("PATCH", "commit")] and groupstate.fenced(pocket.state) == []
    made, = pocket.volume("kvmnfs01").snapshots.values()
    told = naming.told(made.name, made.comment)
    assert told.group in pocket.state.groups and told.volumes == 2 and made.snapmirror_label == "daily" and len(made.comment) <= 255


def test_together_with_a_volume_by_itself(pocket, request_of):
    outcomes = Snapshotter().take([request_of("kvmnfs01"), request_of("kvmnfs02"), request_of("twice", "volume")], soon())
    assert len({one.name for one in outcomes}) == 1 and [len(one) for one in names(pocket, "kvmnfs01", "kvmnfs02", "twice")] == [1, 1, 1]


def test_a_group_on_part_of_the_volumes_is_told(pocket, request_of):
    outcomes = Snapshotter().take([request_of("kvmnfs01"), request_of("twice")], soon())
    assert all(one.finding is None for one in outcomes) and outcomes[0].remark is None
    assert outcomes[1].remark.code == "snapshot.no-group" and "none of SVM svm_kvm holds it" in outcomes[1].remark.text
    assert len({one.name for one in outcomes}) == 1


def test_no_group_where_one_is_required_is_no_snapshot(pocket, request_of):
    outcomes = Snapshotter().take([request_of("kvmnfs01", required=True), request_of("vault", required=True)], soon())
    assert [one.name for one in outcomes] == ["", ""] and names(pocket, "kvmnfs01", "vault", "kvmnfs02") == [[], [], []]
    assert "required = yes" in outcomes[1].finding.text and "locked snapshots" in outcomes[1].finding.text
    assert "vault gets none" in outcomes[0].finding.text


def test_a_lock_that_the_array_cannot_combine_with_a_group(pocket, request_of):
    outcome, = Snapshotter().take([request_of("kvmnfs01", lock_days=7)], soon())
    assert outcome.name and outcome.remark.code == "snapshot.not-locked" and "(two)" in outcome.remark.text
    outcome, = Snapshotter().take([request_of("kvmnfs01", lock_days=7, required=True)], soon())
    assert not outcome.name and "is not locked" in outcome.finding.text


def test_a_role_that_may_not_read_groups(pocket, request_of):
    pocket.faults.add("error", "GET", PATH, code="6", message="not authorized for that command", status=403)
    outcome, = Snapshotter().take([request_of("kvmnfs01")], soon())
    assert outcome.name and "(ONTAP 6)" in outcome.remark.text and "consistency" in outcome.remark.text


def test_an_array_without_phases(pocket, request_of):
    pocket.faults.add("error", "POST", PATH + "*", count=1, code="262179", message='Unexpected argument "action".')
    for _ in range(2):
        outcome, = Snapshotter().take([request_of("kvmnfs01")], soon())
        assert outcome.finding is None
    assert asked(pocket) == [("GET", ""), ("POST", "start"), ("POST", ""), ("GET", ""), ("POST", "")]


@pytest.mark.parametrize("change, code, said", [
    ({"state": "offline"}, "53411921", "524479|not online"), ({"snapshot_limit": 0}, "53411921", "maximum number"),
    ({"reverting": True}, "53411921", "revert"),
])  # fmt: skip
def test_one_volume_fails_them_all(pocket, request_of, change, code, said):
    requests = [request_of("kvmnfs01"), request_of("kvmnfs02")]
    pocket.change(volumes={"kvmnfs02": change})
    outcomes = Snapshotter().take(requests, soon())
    for one in outcomes:
        assert not one.name and f"(ONTAP {code})" in one.finding.text and any(each in one.finding.text for each in said.split("|"))
        assert "consistency group" in one.finding.fix
    assert names(pocket, "kvmnfs01") == [[]] and groupstate.fenced(pocket.state) == []


@pytest.mark.parametrize("method, code, word", [
    ("POST", "53411918", "under way"), ("POST", "53411921", "every volume"), ("POST", "262325", "multi-admin-verify"),
    ("POST", "6", "kvmontap role"),
    ("PATCH", "53411925", "too late"), ("PATCH", "262325", "multi-admin-verify"),
])  # fmt: skip
def test_every_refusal_is_told_with_what_to_do(pocket, request_of, method, code, word):
    pocket.change(array={"fence_limit": 0.5})
    pocket.faults.add("error", method, PATH + "*", code=code, message="No.", status=403)
    outcome, = Snapshotter().take([request_of("kvmnfs01")], soon())
    assert not outcome.name and f"(ONTAP {code})" in outcome.finding.text and word in outcome.finding.fix
    wait_for_no_fence(pocket)
    assert names(pocket, "kvmnfs01", "kvmnfs02") == [[], []]


def wait_for_no_fence(pocket):
    until = time.monotonic() + 20
    while groupstate.fenced(pocket.state):
        assert time.monotonic() < until, "a fence is left"
        time.sleep(0.05)


@pytest.mark.parametrize("method, kind, made", [
    ("POST", "silent", False), ("POST", "closed", False), ("PATCH", "silent", True), ("PATCH", "closed", True), ("PATCH", "cut", True),
])  # fmt: skip
def test_answers_that_get_lost(pocket, request_of, method, kind, made):
    pocket.change(array={"fence_limit": 0.5})
    options = {} if kind == "cut" else {"when": "after"}
    pocket.faults.add(kind, method, PATH + "*", count=1, **options)
    outcome, = Snapshotter().take([request_of("kvmnfs01")], soon(3.0))
    wait_for_no_fence(pocket)
    there, = names(pocket, "kvmnfs01")
    assert bool(there) is made
    if made and kind != "silent":  # there, nothing had to wait for the deadline
        assert outcome.name == there[0]
    if not made:
        assert outcome.finding is not None


def test_a_commit_that_comes_too_late(pocket, request_of):
    pocket.change(array={"fence_limit": 0.2})
    pocket.faults.add("slow", "PATCH", PATH + "*", seconds=0.6)
    outcome, = Snapshotter().take([request_of("kvmnfs01")], soon())
    assert "(ONTAP 53411925)" in outcome.finding.text and names(pocket, "kvmnfs01") == [[]]


def test_a_part_beside_a_group_is_deleted_again(pocket, request_of):
    requests = [request_of("kvmnfs01"), request_of("twice", "volume")]
    pocket.change(volumes={requests[1].volume.uuid: {"snapshot_limit": 0}})
    outcomes = Snapshotter().take(requests, soon())
    assert all(one.finding for one in outcomes) and names(pocket, "kvmnfs01", "kvmnfs02") == [[], []]
    assert ("DELETE", "") in asked(pocket)


# -- killed


CHILD = """
import os, signal, sys
from kvmontap.array import Client, look
from kvmontap.array import transport
from kvmontap.model import Array, Domain, Pool, Snapshots
from kvmontap.snapshots import Request, Snapshotter
import time
address, password, ca, left = sys.argv[1:5]
client = Client(Array("prod", address, svm="svm_kvm", username="kvmontap", password_file=password, ca=ca))
requests = []
for volume in ("kvmnfs01", "kvmnfs02", "twice"):
    scope = "volume" if volume == "twice" else "consistency-group"
    pool = Pool(volume, "nfs", ontap="prod", volume=volume, snapshot_scope=scope, snapshots=Snapshots())
    ref = look(client, pool, time.monotonic() + 10).ref
    requests.append(Request(client, ref, pool, Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ()), "start", "kvm01"))
allowed = int(left)
for name in ("create_snapshot", "create_group_snapshot", "change", "delete_snapshot", "remove"):
    def counted(*arguments, real=getattr(client, name), **more):
        global allowed
        answer = real(*arguments, **more)
        allowed -= 1
        if allowed == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    setattr(client, name, counted)
print("ready", flush=True)
Snapshotter().take(requests, time.monotonic() + 10)
"""


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_killed_after_each_request_the_next_run_ends_clean(pocket, section, request_of, steps):  # noqa: F811
    """At most a part is left, which says that it is one; no fence; the next run is whole and retention takes the rest."""
    pocket.change(array={"fence_limit": 0.5})
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    done = subprocess.run([sys.executable, "-c", CHILD, section.address, section.password_file, section.ca, str(steps)], cwd=root,
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == -9 and "ready" in done.stdout, done.stderr
    wait_for_no_fence(pocket)
    left = {one.name for volume in ("kvmnfs01", "kvmnfs02", "twice") for one in pocket.volume(volume).snapshots.values()}
    assert len(left) <= 1
    outcomes = Snapshotter().take([request_of("kvmnfs01"), request_of("kvmnfs02"), request_of("twice", "volume")], soon())
    assert all(one.finding is None for one in outcomes)
    for request in (request_of("kvmnfs01"), request_of("twice", "volume")):
        assert prune(request.client, request.volume, Policy(1, 14), soon(), order={outcomes[0].name: 1}).finding is None
    assert names(pocket, "kvmnfs01", "kvmnfs02", "twice") == [[outcomes[0].name]] * 3


# -- retention


def plant(pocket, age, group="two", volumes=("kvmnfs01", "kvmnfs02"), **more):
    """A snapshot of the group, so many days old; its name."""
    found = next(each for each in pocket.state.groups.values() if each.name == group)
    name = naming.name(time.time() - age * DAY, "start", plant.count)
    plant.count += 1
    comment = naming.comment(VM, "start", "kvm01", 0, 2, found.uuid)
    made = {"name": name, "comment": comment, "create_time": iso(age)}
    for volume in volumes:
        pocket.change(volumes={volume: {"snapshots": [{**made, **more.get(volume, {})}]}})
    first = next(one for one in pocket.volume(volumes[0]).snapshots.values() if one.name == name)
    found.snapshots[f"group-{first.uuid}"] = type(first)(f"group-{first.uuid}", name, first.create_time, comment)
    return name


plant.count = 0


def pruned(request, keep=1, groups=None):
    return prune(request.client, request.volume, Policy(keep, 14), soon(), groups=groups)


def test_what_has_had_its_time_goes_from_all_volumes_at_once(pocket, request_of):
    old, older, new = plant(pocket, 2), plant(pocket, 30), plant(pocket, 0)
    report = pruned(request_of("kvmnfs01"))
    assert set(report.deleted) == {old, older} and report.finding is None
    assert names(pocket, "kvmnfs01", "kvmnfs02") == [[new], [new]]
    assert len([one for one in asked(pocket) if one[0] == "DELETE"]) == 2 and not pocket.log.entries("DELETE", "/api/storage")


def test_what_another_volume_still_needs_stays_on_all(pocket, request_of):
    """On kvmnfs01 a younger one of its own stands beside it; for kvmnfs02 it is the last."""
    old, = {plant(pocket, 2)}
    own = naming.name(time.time(), "start", 0xFFFF)
    comment = naming.comment(VM, "start", "kvm01")
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": own, "comment": comment, "create_time": iso(0)}]}})
    report = pruned(request_of("kvmnfs01"))
    assert report.deleted == () and [(left.name, left.why) for left in report.left] == [(old, "group")]
    assert "volume kvmnfs02" in report.left[0].text and "last" in report.left[0].text
    assert old in names(pocket, "kvmnfs01")[0] and old in names(pocket, "kvmnfs02")[0]


@pytest.mark.parametrize("trouble, why", [({"owners": ["snapmirror"]}, "owned"), ({"expiry_time": iso(-9)}, "locked")])
def test_what_is_held_on_another_volume_stays_on_all(pocket, request_of, trouble, why):
    old, new = plant(pocket, 2, kvmnfs02=trouble), plant(pocket, 0)
    report = pruned(request_of("kvmnfs01"))
    assert report.deleted == () and f"({why})" in report.left[0].text and names(pocket, "kvmnfs01") == [[old, new]]


@pytest.mark.parametrize("code, why", [("53412007", "locked"), ("53412008", "owned")])
def test_what_only_the_array_knows_to_be_held(pocket, request_of, code, why):
    plant(pocket, 2), plant(pocket, 0)
    pocket.faults.add("error", "DELETE", PATH + "*", code=code, message="No.")
    report = pruned(request_of("kvmnfs01"))
    assert report.finding is None and [left.why for left in report.left] == [why]


def test_a_pool_that_keeps_more_decides_for_the_group(pocket, request_of):
    for age in (3, 2, 1):
        plant(pocket, age)
    wider = grouped.policy(Policy(1, 14), [request_of("kvmnfs02", keep=2).pool, request_of("twice", "volume", keep=9).pool], "prod")
    assert wider == Policy(2, 14)
    assert len(pruned(request_of("kvmnfs01"), 1, wider).deleted) == 1 and len(names(pocket, "kvmnfs02")[0]) == 2


def test_an_array_that_keeps_the_comment_to_the_group_alone(pocket, request_of):
    """Its snapshots are ours all the same, and do not pile up on the volumes."""
    pocket.change(array={"group_comments": False})
    for _ in range(3):
        outcome, = Snapshotter().take([request_of("kvmnfs01")], soon())
        report = prune(request_of("kvmnfs01").client, request_of("kvmnfs01").volume, Policy(1, 14), soon(),
                       order={outcome.name: 1})  # fmt: skip
        assert report.foreign == 0 and names(pocket, "kvmnfs01", "kvmnfs02") == [[outcome.name]] * 2
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": "kvmontap-20261123T080506Z-start-f00d"}]}})
    assert pruned(request_of("kvmnfs01")).foreign == 1


def test_a_group_that_is_gone(pocket, request_of):
    old, new = plant(pocket, 2), plant(pocket, 0)
    pocket.state.groups.clear()
    assert pruned(request_of("kvmnfs01")).deleted == (old,) and names(pocket, "kvmnfs01", "kvmnfs02") == [[new], [old, new]]


def test_json_of_a_comment_fits_whatever_its_parts_are(pocket):
    comment = naming.comment(Domain("v" * 300, VM.uuid, ()), "start", "h" * 300, 4000, 12, VM.uuid)
    assert len(comment) <= 255 and json.loads(comment)["group"] == VM.uuid
