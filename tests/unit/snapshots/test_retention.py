"""Which snapshots have had their time: pure; and thinning out a real volume of the pocket array, alone and behind 1,100 starts."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.array import look
from kvmontap.array.stored import Stored, stored
from kvmontap.model import Config, Domain, Snapshots
from kvmontap.snapshots import Request, Snapshotter, naming, retention
from kvmontap.snapshots.background import Housekeeper
from kvmontap.snapshots.prune import prune
from kvmontap.snapshots.retention import Policy
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import DESCRIPTION, soon

UUID = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab"
VM = Domain("vm1", UUID, ())
DAY = 86400
NOW = 1795421106.0
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_numbers = iter(range(1 << 30))


def ours(age=0.0, reason="start", **more):
    name, created = naming.name(NOW - age, reason, next(_numbers)), NOW - age
    return Stored(name, f"u{next(_numbers)}", naming.comment(VM, reason, "kvm01"), created, "valid")._replace(**more)


def going(snapshots, keep=20, days=14, now=NOW):
    return [fate.snapshot for fate in retention.fates(snapshots, Policy(keep, days), now) if fate.goes]


# -- what is ours


@pytest.mark.parametrize("name, comment", [
    ("hourly.2026-11-23_0805", ""),
    ("kvmontap-20261123T080506Z-start-f00d", ""),
    ("kvmontap-20261123T080506Z-start-f00d", "{}"),
    ("kvmontap-20261123T080506Z-start-f00d", '"kvmontap"'),
    ("kvmontap-20261123T080506Z-start-f00d", "[" * 100000),
    ("kvmontap-20261123T080506Z-start-f00d", '{"kvmontap":true,"uuid":"u","reason":"start","host":"h","vm":"v"}'),
    ("kvmontap-20261123T080506Z-start-f00d", '{"kvmontap":1,"uuid":"u","reason":"migrate","host":"h","vm":"v"}'),
    ("kvmontap-20261123T080506Z-start-f00d", '{"kvmontap":1,"uuid":7,"reason":"start","host":"h","vm":"v"}'),
    ("kvmontap-before-upgrade", '{"kvmontap":1,"uuid":"u","reason":"start","host":"h","vm":"v"}'),
    ("kvmontap-20261123T080506Z-start-f00d.1", '{"kvmontap":1,"uuid":"u","reason":"start","host":"h","vm":"v"}'),
])  # fmt: skip
def test_what_only_looks_like_ours_is_foreign(name, comment):
    assert naming.told(name, comment) is None
    assert retention.fates([Stored(name, "u", comment, 0.0)], Policy(1, 1), NOW) == ()


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(["start", "migrate"]), st.integers(0, 5000))
def test_what_we_write_we_know_again(vm, host, reason, more):
    told = naming.told(naming.name(NOW, reason, 7), naming.comment(Domain(vm, UUID, ()), reason, host, more))
    assert (told.reason, told.uuid, told.more) == (reason, UUID, more)


# -- fates


def test_the_newest_of_each_reason_stay():
    starts, arrivals = [ours(age) for age in range(30)], [ours(age, "migrate") for age in range(5)]
    assert set(going(starts + arrivals, keep=3)) == set(starts[3:] + arrivals[3:])


def test_what_is_older_than_keep_days_goes_but_never_the_last():
    old = [ours(20 * DAY), ours(30 * DAY), ours(40 * DAY)]
    assert going(old) == [old[2], old[1]]
    assert going(old + [ours(0)]) == [old[2], old[1], old[0]]
    assert going(old, days=0) == []


def test_the_last_that_can_be_used_stays():
    broken, sound, older = ours(1, state="partial"), ours(20 * DAY), ours(21 * DAY)
    assert going([older, sound, broken], keep=1) == [older]


def test_locked_owned_and_taken_by_hand_stay_and_push_nothing_out():
    held = [
        ours(100, owners=("snapmirror",)), ours(101, locked_until=NOW + 1), ours(102, expires=NOW + 1),
        ours(103, locked_until=float("inf")), ours(104, "manual"),
    ]  # fmt: skip
    young = [ours(age) for age in range(3)]
    assert going(held + young, keep=3) == []
    fates = {fate.snapshot: fate for fate in retention.fates(held + young, Policy(3, 14), NOW)}
    assert [fates[one].held for one in held] == ["owned", "locked", "locked", "locked", "manual"]


def test_a_lock_that_is_over_holds_nothing():
    over = [ours(100, locked_until=NOW - 1), ours(101, locked_until=NOW + 50, lock_over=True), ours(102, expires=NOW - 1)]
    assert going([*over, ours(0)], keep=1) == over[::-1]


def test_what_has_no_time_or_a_newer_version_stays():
    newer = ours(30 * DAY)
    newer = newer._replace(comment=json.dumps({**json.loads(newer.comment), "kvmontap": 2}, separators=(",", ":")))
    assert going([ours(0), newer, ours(1, created=None)], keep=1) == []


def test_without_the_arrays_clock_its_youngest_snapshot_tells_the_time():
    """A host whose clock runs years ahead deletes nothing that is young by the array's."""
    young = [ours(DAY), ours(2 * DAY)]
    assert going(young, now=None) == []
    foreign = Stored("hourly", "u", "", NOW + 20 * DAY)
    assert going([*young, foreign], now=None) == [young[1]]


def test_of_several_pools_the_most_generous_counts():
    assert retention.policy([Snapshots(keep=5, keep_days=30), Snapshots(keep=9, keep_days=7)]) == (9, 30)
    assert retention.policy([Snapshots(keep=5, keep_days=0), Snapshots(keep=9, keep_days=7)]) == (9, 0)


@given(st.lists(st.tuples(
    st.floats(0, 60 * DAY), st.sampled_from(["start", "migrate", "restore", "manual"]),
    st.sampled_from([{}, {"owners": ("x",)}, {"locked_until": NOW + 5}, {"state": "invalid"}]),
), max_size=40), st.integers(1, 10), st.integers(0, 30))  # fmt: skip
def test_whatever_there_is(kinds, keep, days):
    snapshots = [ours(age, reason, **more) for age, reason, more in kinds]
    gone = set(going(snapshots, keep, days))
    for reason in ("start", "migrate", "restore"):
        group = [one for one in snapshots if f"-{reason}-" in one.name]
        free = [one for one in group if not one.owners and one.locked_until is None]
        assert len([one for one in free if one not in gone]) <= keep + 1  # one more: the last usable may stand behind broken ones
        assert not group or len(gone & set(group)) < len(group)
    assert not any(one.owners or one.locked_until or "-manual-" in one.name for one in gone)


# -- on an array


@pytest.fixture
def volume(client, pool):
    return look(client, pool, soon()).ref


def iso(days=0.0):
    return (datetime.now(timezone.utc) - timedelta(days=days)).isoformat(timespec="seconds")


def plant(pocket, *kinds, reason="start", volume="kvmnfs01"):
    """Snapshots (days old, further attributes) of ours in the array's books; their names."""
    made = []
    for days, more in kinds:
        name = naming.name(time.time() - days * DAY, reason, next(_numbers))
        made.append({"name": name, "comment": naming.comment(VM, reason, "kvm01"), "create_time": iso(days), **more})
    pocket.change(volumes={volume: {"snapshots": made}})
    return [one["name"] for one in made]


def names(pocket, volume="kvmnfs01"):
    return {one.name for one in pocket.volume(volume).snapshots.values()}


def deletions(pocket):
    return len(pocket.log.entries("DELETE"))


def test_a_volume_is_thinned_out_and_the_rest_told(pocket, client, volume):
    old = plant(pocket, (40, {}), (41, {}))
    owned, locked, vault = plant(
        pocket, (42, {"owners": ["snapmirror"]}), (43, {"snaplock_expiry_time": iso(-3)}), (44, {"expiry_time": iso(-3)}))  # fmt: skip
    manual = plant(pocket, (50, {}), reason="manual")
    young = plant(pocket, (1, {}), (0, {}))
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": "hourly.1", "create_time": iso(90)}, {"name": "kvmontap-mine"}]}})
    report = prune(client, volume, Policy(20, 14), soon())
    assert set(report.deleted) == set(old) and report.finding is None
    assert names(pocket) == {owned, locked, vault, *manual, *young, "hourly.1", "kvmontap-mine"}
    assert {(left.name, left.why) for left in report.left} == {(owned, "owned"), (locked, "locked"), (vault, "locked")}
    assert {left.text for left in report.left if left.why == "owned"} == {"needed by snapmirror"}
    assert (report.kept, report.foreign) == (3, 2) and deletions(pocket) == 2


def test_a_dry_run_deletes_nothing(pocket, client, volume):
    old, _ = plant(pocket, (40, {}), (0, {}))
    assert prune(client, volume, Policy(20, 14), soon(), dry_run=True).deleted == (old,)
    assert deletions(pocket) == 0 and old in names(pocket)


def test_a_lock_that_only_the_array_knows_of(pocket, client, volume):
    old = plant(pocket, (40, {}), (41, {}), (0, {}))
    pocket.faults.add("error", "DELETE", count=1, code="1638555", message="has not expired or is locked.")
    report = prune(client, volume, Policy(20, 14), soon())
    assert report.deleted == (old[0],) and [(left.name, left.why) for left in report.left] == [(old[1], "locked")]


@pytest.mark.parametrize("location", ["at once", "by a job"])
def test_an_approval_is_asked_for_once(pocket, client, volume, location, monkeypatch):
    plant(pocket, (40, {}), (41, {}), (42, {}), (0, {}))
    if location == "by a job":
        pocket.faults.add("job-failure", "DELETE", code="262325", message="The operation requires approval.")
    else:
        pocket.faults.add("approval", "DELETE")
    report = prune(client, volume, Policy(20, 14), soon())
    assert report.deleted == () and deletions(pocket) == 1
    assert report.finding.code == "retention.approval" and "(ONTAP 262325)" in report.finding.text
    assert "multi-admin-verify" in report.finding.fix and [left.why for left in report.left] == ["approval"]


@pytest.mark.parametrize("code, left, word", [
    ("1638543", "owned", ""), ("1638555", "locked", ""), ("1638483", "owned", ""), ("1638521", "refused", "SnapMirror source"),
    ("1638538", "refused", "volume show"), ("1638644", "refused", "ONTAP's own tools"), ("524481", "refused", "fenced"),
    ("262325", "approval", "multi-admin-verify"), ("6", "refused", "kvmontap role"), ("1638600", "", ""), ("4", "", ""),
])  # fmt: skip
def test_every_code_of_a_refusal_is_told_with_what_to_do(pocket, client, volume, code, left, word):
    old, _ = plant(pocket, (40, {}), (0, {}))
    pocket.faults.add("error", "DELETE", code=code, message="The array says no.")
    report = prune(client, volume, Policy(20, 14), soon())
    assert [one.why for one in report.left] == ([left] if left else []) and report.deleted == (() if left else (old,))
    assert (report.finding is not None) is bool(word)
    if word:
        assert f"The array says no (ONTAP {code})" in report.finding.text and word in report.finding.fix


KILLED = """
import os, signal, sys, time
from kvmontap.array import Client, look
from kvmontap.model import Array, Pool
from kvmontap.snapshots.prune import prune
from kvmontap.snapshots.retention import Policy
address, password, ca, left, before = sys.argv[1:6]
client = Client(Array("prod", address, svm="svm_kvm", username="kvmontap", password_file=password, ca=ca))
ref = look(client, Pool("p", "nfs", ontap="prod", volume="kvmnfs01"), time.monotonic() + 10).ref
allowed, real = int(left), client.delete_snapshot
def counted(*arguments):
    global allowed
    allowed -= 1
    if allowed == 0 and before == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(*arguments)
    if allowed == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
client.delete_snapshot = counted
prune(client, ref, Policy(2, 14), time.monotonic() + 20)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("steps", [1, 3])
def test_killed_at_any_request_the_next_run_ends_clean(pocket, section, client, volume, steps, moment):
    kept = plant(pocket, (0, {}), (1, {}))
    plant(pocket, *((20 + day, {}) for day in range(3)))
    kept += plant(pocket, (50, {"owners": ["snapmirror"]}), (51, {"snaplock_expiry_time": iso(-9)}))
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": "hourly.1"}]}})
    done = subprocess.run([sys.executable, "-c", KILLED, section.address, section.password_file, section.ca, str(steps), moment],
                          capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert set(kept) | {"hourly.1"} <= names(pocket)
    assert prune(client, volume, Policy(2, 14), soon()).finding is None and names(pocket) == {*kept, "hourly.1"}


@pytest.mark.parametrize("code, requests", [("524481", 1), ("6", 1), ("1638521", 1), ("1638538", 1), ("2", 3)])
def test_a_refusal_is_not_repeated_for_all(pocket, client, volume, code, requests):
    plant(pocket, *((40 + day, {}) for day in range(10)), (0, {}))
    pocket.faults.add("error", "DELETE", code=code, message="No.")
    report = prune(client, volume, Policy(20, 14), soon())
    assert deletions(pocket) == requests and report.finding.code == "retention.failed" and f"(ONTAP {code})" in report.finding.text


def test_a_deletion_whose_answer_is_lost_is_not_repeated(pocket, client, volume):
    plant(pocket, (40, {}), (41, {}), (0, {}))
    pocket.faults.add("closed", "DELETE", when="after", count=1)
    report = prune(client, volume, Policy(20, 14), soon())
    assert len(report.deleted) == 2 and report.finding is None  # the second request says that it is gone
    pocket.faults.add("not-json", "DELETE")
    plant(pocket, (45, {}), (46, {}))
    report = prune(client, volume, Policy(20, 14), soon())
    assert report.deleted == () and report.finding.code == "retention.failed"


def test_a_deletion_that_takes_a_job(pocket, client, volume, monkeypatch):
    from kvmontap.array import stored as module

    monkeypatch.setattr(module, "_WAIT", 0)
    pocket.change(array={"job_seconds": 0.2})
    old, _ = plant(pocket, (40, {}), (0, {}))
    assert prune(client, volume, Policy(20, 14), soon()).deleted == (old,) and old not in names(pocket)


def test_the_deadline_ends_it(pocket, client, volume):
    plant(pocket, *((40 + day, {}) for day in range(5)), (0, {}))
    pocket.faults.add("slow", "DELETE", seconds=0.6)
    report = prune(client, volume, Policy(20, 14), soon(1.0))
    assert 1 <= len(report.deleted) <= 2 and report.finding.code == "retention.failed"


@pytest.mark.parametrize("spellings", [1, 2])
def test_locks_of_older_arrays(pocket, client, volume, spellings):
    pocket.faults.add("error", "GET", "*/snapshots", count=spellings, code="262197", message="The field is not known.")
    plant(pocket, (1, {"snaplock_expiry_time": iso(-3)}))
    found, = stored(client, volume, soon())
    assert (found.locked_until is not None) is (spellings == 1) and client.lock_fields == spellings


# -- behind the starts


@pytest.fixture
def keeper():
    told, faults = [], []
    made = Housekeeper(told.append, faults.append)
    made.told = told
    yield made
    assert made.wait(30) and not faults, faults
    made._clients.close()


def start(snapshotter, keeper, request, pools=()):
    outcomes = snapshotter.take([request], soon())
    keeper.taken(Config({}, {pool.name: pool for pool in pools}, {}), [request], outcomes)
    assert keeper.wait(30)
    return outcomes[0]


def test_1100_starts_never_come_above_keep(authority, section, client, pool, tmp_path, keeper):
    """Without the judge, who has seen every kind of these requests in the tests above."""
    with PocketArray(DESCRIPTION, directory=authority) as array:
        from kvmontap.array import Client

        mine = Client(section._replace(address=array.host, ca=array.ca))
        pool = pool._replace(snapshots=Snapshots(keep=20))
        ref = look(mine, pool, soon()).ref
        held = set(plant(array, (1, {"owners": ["snapmirror"]}), (2, {"snaplock_expiry_time": iso(-30)}), (3, {"expiry_time": iso(-30)})))
        held |= set(plant(array, (4, {}), reason="manual"))
        array.change(volumes={"kvmnfs01": {"snapshots": [{"name": f"hourly.{n}", "create_time": iso(n)} for n in range(10)]}})
        held |= {f"hourly.{n}" for n in range(10)}
        snapshotter = Snapshotter()
        for number in range(1100):
            reason = "migrate" if number % 5 == 0 else "start"
            outcome = start(snapshotter, keeper, Request(mine, ref, pool, VM, reason, "kvm01"))
            assert outcome.finding is None
            there = names(array)
            assert held <= there and len(there - held) <= 40, f"start {number}"
            assert sum("-start-" in name for name in there - held) <= 20 and outcome.name in there
        mine.close()
    assert sum(len(report.deleted) for report in keeper.told) == 1060


def test_nobody_waits_for_the_thinning_out(pocket, client, pool, volume, keeper):
    plant(pocket, *((40 + day, {}) for day in range(3)))
    fault = pocket.faults.add("slow", "DELETE", seconds=30)
    request = Request(client, volume, pool, VM, "start", "kvm01")
    outcomes = Snapshotter().take([request], soon())
    began = time.monotonic()
    keeper.taken(Config({}, {}, {}), [request], outcomes)
    assert time.monotonic() - began < 0.5
    pocket.log.wait_for(1, "DELETE")
    assert Snapshotter().take([request], soon())[0].finding is None and time.monotonic() - began < 5
    pocket.faults.clear(fault.number)


def test_refusals_are_not_repeated_at_every_start(pocket, client, pool, volume, keeper):
    plant(pocket, (40, {}), (41, {}))
    pocket.faults.add("approval", "DELETE")
    request = Request(client, volume, pool, VM, "start", "kvm01")
    for _ in range(5):
        start(Snapshotter(), keeper, request)
    assert deletions(pocket) == 1 and [report.finding.code for report in keeper.told] == ["retention.approval"]


def test_a_snapshot_that_the_array_holds_is_asked_for_once(pocket, client, pool, volume, keeper):
    plant(pocket, (40, {}), (41, {}))
    pocket.faults.add("error", "DELETE", code="1638543", message="it has an owner.")
    request = Request(client, volume, pool, VM, "start", "kvm01")
    for _ in range(5):
        start(Snapshotter(), keeper, request)
    assert deletions(pocket) == 2


def test_a_full_volume_is_thinned_out_for_the_next_start(pocket, client, pool, volume, keeper):
    plant(pocket, (40, {}), (41, {}))
    pocket.change(volumes={"kvmnfs01": {"snapshot_limit": 2}})
    request = Request(client, volume, pool, VM, "start", "kvm01")
    assert "525062" in start(Snapshotter(), keeper, request).finding.text
    assert start(Snapshotter(), keeper, request).finding is None


def test_another_pool_on_the_same_volume_may_keep_more(pocket, client, pool, volume, keeper):
    mine = pool._replace(snapshots=Snapshots(keep=1))
    other = pool._replace(name="other", export="/kvmnfs01/below", snapshots=Snapshots(keep=3))
    elsewhere = pool._replace(name="elsewhere", export="/deep/er/kvmnfs02", snapshots=Snapshots(keep=9))
    request = Request(client, volume, mine, VM, "start", "kvm01")
    for _ in range(5):
        start(Snapshotter(), keeper, request, (mine, other, elsewhere))
    assert len(names(pocket)) == 3
