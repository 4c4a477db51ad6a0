"""Snapshots over HTTPS with the real netapp_ontap: jobs, lost answers, locks, group commit, time."""

import json
import re
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from kvmontap.array import Client, look, snapshot
from kvmontap.model import Domain, Snapshots
from kvmontap.snapshots import Request, Snapshotter, naming
from tests.unit.array.over_https import secret, soon

SLACK = 0.5
JOBS = "/api/cluster/jobs/"
VM = Domain("vm1", "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab", ())


def vm(number):
    return Domain(f"vm{number}", f"6f1a8a0e-4f7e-4b1e-9d5c-{number:012d}", ())


@pytest.fixture
def request_of(client, pool):
    """Makes a Request as the gate does: after a look at the pool."""

    def make(domain=VM, reason="start", volume="kvmnfs01", using=client, **settings):
        wanted = pool._replace(volume=volume, snapshots=Snapshots(**settings))
        return Request(using, look(using, wanted, soon()).ref, wanted, domain, reason, "kvm01")

    return make


def snapshots(pocket, volume="kvmnfs01"):
    return list(pocket.volume(volume).snapshots.values())


def posts(pocket):
    return pocket.log.entries("POST")


def taken(request, deadline=None):
    return Snapshotter().take([request], deadline or soon())[0]


def test_a_snapshot_carries_our_name_and_comment(pocket, request_of):
    outcome = taken(request_of(label="daily"))
    made, = snapshots(pocket)
    assert outcome == ("kvmnfs01", "kvmnfs01", made.name, None, False, False, None)
    assert re.fullmatch(r"kvmontap-\d{8}T\d{6}Z-start-[0-9a-f]{4}", made.name)
    assert json.loads(made.comment) == {"kvmontap": 1, "uuid": VM.uuid, "reason": "start", "host": "kvm01", "vm": "vm1"}
    assert (made.snapmirror_label, made.snaplock_expiry_time) == ("daily", None)


@pytest.mark.parametrize("name", ["v" * 200, "größe-名" * 30, 'quo"te'])
def test_any_name_of_a_vm_gets_its_snapshot(pocket, request_of, name):
    assert taken(request_of(domain=VM._replace(name=name))).finding is None
    assert len(snapshots(pocket)[0].comment) <= 255


# -- jobs, in whatever form the array names them


@pytest.fixture(params=["at once", "by a job"])
def seconds(request, monkeypatch):
    """How long the array works on a snapshot: within the time that it may take for its answer, or with a job handed out."""
    if request.param == "at once":
        return 0.0
    monkeypatch.setattr(snapshot, "WAIT", 0)
    return 0.4


@pytest.fixture
def jobs(pocket, monkeypatch):
    """The array hands out a job for each snapshot, which takes 0.4 s."""
    monkeypatch.setattr(snapshot, "WAIT", 0)
    pocket.change(array={"job_seconds": 0.4})


@pytest.mark.parametrize("location", ["uuid", "query", "wrong", "none"])
def test_every_form_of_location_ends_in_a_snapshot(pocket, request_of, location, seconds):
    pocket.faults.add("location", "POST", form=location)
    pocket.change(array={"job_seconds": seconds})
    assert taken(request_of(), soon(20)).finding is None
    assert len(snapshots(pocket)) == 1
    assert bool(pocket.log.entries("GET", JOBS)) == bool(seconds)


@pytest.mark.parametrize("location", ["uuid", "query", "none"])
def test_the_code_of_a_failed_job_is_kept(pocket, request_of, location, seconds):
    pocket.faults.add("location", "POST", form=location)
    pocket.change(array={"job_seconds": seconds})
    pocket.faults.add("job-failure", "POST", code="1638630", message="Snapshot create operation is not supported.")
    finding = taken(request_of(), soon(20)).finding
    assert finding.code == "snapshot.failed" and finding.health == "degraded"
    assert finding.text == "no snapshot of volume kvmnfs01: Snapshot create operation is not supported (ONTAP 1638630)"
    assert "active sync" in finding.fix
    assert snapshots(pocket) == [] and len(posts(pocket)) == 1


def test_the_limit_is_told_in_the_arrays_words(pocket, request_of, seconds):
    pocket.change(volumes={"kvmnfs01": {"snapshot_limit": 0}}, array={"job_seconds": seconds})
    finding = taken(request_of(), soon(20)).finding
    assert "Cannot exceed maximum number of snapshots" in finding.text and "(ONTAP 525062)" in finding.text
    assert finding.fix == "delete snapshots that nobody needs: volume snapshot show -vserver svm_kvm -volume kvmnfs01"


@pytest.mark.parametrize("change, code", [
    ({"state": "offline"}, "524479"), ({"type": "dp"}, "1638461"), ({"reverting": True}, "1638532"), ({"full": True}, "524479"),
])
def test_what_the_volume_has_against_it(pocket, request_of, change, code):
    request = request_of()
    pocket.change(volumes={"kvmnfs01": change})
    finding = taken(request).finding
    assert f"(ONTAP {code})" in finding.text and finding.fix


def test_approval_by_several_administrators(pocket, request_of):
    pocket.faults.add("approval", "POST")
    finding = taken(request_of()).finding
    assert "requires approval" in finding.text and "(ONTAP 262325)" in finding.text and "multi-admin-verify" in finding.fix


def test_a_role_that_may_only_read(pocket, section, tmp_path, request_of):
    limited = Client(section._replace(username="limited", password_file=secret(tmp_path / "limited", "limited-1")))
    finding = taken(request_of(using=limited)).finding
    limited.close()
    assert "not authorized for that command (ONTAP 6)" in finding.text and "kvmontap role" in finding.fix


def test_a_job_that_the_role_may_not_read_is_judged_by_its_snapshot(pocket, request_of, jobs):
    pocket.faults.add("error", path=JOBS + "*", code="6", message="not authorized for that command", status=403)
    assert taken(request_of(), soon(20)).finding is None and len(snapshots(pocket)) == 1


def test_a_job_that_the_array_forgot_is_judged_by_its_snapshot(pocket, request_of, jobs):
    pocket.faults.add("job-lost", "POST")
    assert taken(request_of(), soon(20)).finding is None and len(snapshots(pocket)) == 1


def test_a_job_in_a_state_that_nobody_knows_is_judged_by_its_snapshot(pocket, request_of, client, jobs):
    pocket.faults.add("unknown-enum", path=JOBS + "*", field="state", value="hovering")
    assert taken(request_of(), soon(20)).finding is None and len(snapshots(pocket)) == 1
    job = pocket.log.entries("GET", JOBS)[0].path.rsplit("/", 1)[-1]
    assert client.job(job, soon())["state"] == "hovering"  # netapp_ontap lets it through


# -- answers that get lost


@pytest.mark.parametrize("fault", [
    ("silent", {}), ("closed", {}), ("reset", {}), ("slow", {"seconds": 3}),
])
def test_a_snapshot_that_was_made_is_found_though_its_answer_is_lost(pocket, request_of, fault):
    kind, options = fault
    request = request_of()
    pocket.faults.add(kind, "POST", when="after", **options)
    outcome = taken(request, soon(2.0))
    assert outcome.finding is None and [one.name for one in snapshots(pocket)] == [outcome.name]
    assert len(posts(pocket)) == 1


@pytest.mark.parametrize("kind", ["cut", "cut-json", "no-links", "unknown-enum"])
def test_an_answer_that_cannot_be_read_does_not_lose_the_snapshot(pocket, request_of, jobs, kind):
    request = request_of()
    pocket.faults.add(kind, "POST", count=1)
    outcome = taken(request, soon(10))
    assert outcome.finding is None and len(snapshots(pocket)) == 1 and len(posts(pocket)) == 1


def test_an_answer_of_something_else_is_no_snapshot(pocket, request_of):
    """HTTP 200 and a page, as a login portal in between gives it."""
    request = request_of()
    pocket.faults.add("not-json", "POST", count=1)
    finding = taken(request, soon(1.5)).finding
    assert "HTTP 200 does not say whether it was created" in finding.text and snapshots(pocket) == [] and len(posts(pocket)) == 1


def test_a_connection_that_the_array_gave_up_is_tried_again_once(pocket, request_of):
    request = request_of()
    pocket.faults.add("closed", "POST", count=1)
    assert taken(request).finding is None
    assert len(snapshots(pocket)) == 1 and len(posts(pocket)) == 2


def test_a_request_is_not_sent_for_ever(pocket, request_of):
    request = request_of()
    pocket.faults.add("closed", "POST")
    finding = taken(request).finding
    assert "it closed the connection" in finding.text and len(posts(pocket)) == 2


@pytest.mark.parametrize("trouble", ["refused", "mute", "silent"])
def test_an_array_that_says_nothing_costs_no_more_than_the_deadline(pocket, request_of, trouble):
    request = request_of()
    if trouble == "silent":
        pocket.faults.add("silent")
    else:
        getattr(pocket, {"refused": "refuse", "mute": "mute"}[trouble])()
    began = time.monotonic()
    finding = taken(request, soon(1.0)).finding
    assert time.monotonic() - began < 1.0 + SLACK
    assert finding.code == "snapshot.failed" and finding.text.startswith("no snapshot of volume kvmnfs01: ") and finding.fix


def test_a_job_that_is_still_running_at_the_deadline(pocket, request_of):
    request = request_of()
    pocket.change(array={"job_seconds": 30.0})
    finding = taken(request, soon(1.5)).finding
    assert "when the time is over" in finding.text or "within 1.5 s" in finding.text
    assert len(posts(pocket)) == 1


# -- locks


def test_a_lock_where_the_volume_takes_one(pocket, request_of):
    outcome = taken(request_of(volume="vault", lock_days=7))
    made, = snapshots(pocket, "vault")
    assert outcome.finding is None
    left = datetime.fromisoformat(made.snaplock_expiry_time) - datetime.now(timezone.utc)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


def test_a_lock_runs_by_the_compliance_clock_of_the_array(pocket, request_of):
    """Which may be days behind; a host whose own clock is wrong locks no shorter and no longer."""
    pocket.change(array={"compliance_lag": 3 * 86400})
    snapshotter = Snapshotter(clock=lambda: 0.0)
    for _ in range(2):
        assert snapshotter.take([request_of(volume="vault", lock_days=7)], soon())[0].finding is None
    for made in snapshots(pocket, "vault"):
        left = datetime.fromisoformat(made.snaplock_expiry_time) - datetime.now(timezone.utc)
        assert timedelta(days=3, hours=23) < left <= timedelta(days=4)
    assert len(pocket.log.entries("GET", "/api/storage/snaplock")) == 1


def test_a_role_that_may_not_read_the_compliance_clock(pocket, request_of):
    pocket.faults.add("error", "GET", "/api/storage/snaplock*", code="6", message="not authorized for that command", status=403)
    assert Snapshotter(clock=lambda: 0.0).take([request_of(volume="vault", lock_days=7)], soon())[0].finding is None
    left = datetime.fromisoformat(snapshots(pocket, "vault")[0].snaplock_expiry_time) - datetime.now(timezone.utc)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


@pytest.mark.parametrize("code, word", [
    ("525059", "another host"), ("525062", "delete snapshots"), ("524479", "online"), ("1638461", "SnapMirror source"),
    ("1638477", "update"), ("1638518", "update"), ("1638532", "revert"),
    ("1638537", "snapshot list"), ("1638574", "lock-days"), ("1638618", "locking"),
    ("1638630", "active sync"), ("1520351", "volume show"), ("2621462", "svm="), ("92405873", "before = none"), ("262325", "multi-admin"),
    ("6", "kvmontap role"),
])  # fmt: skip
def test_every_code_of_a_refusal_is_told_with_what_to_do(pocket, request_of, code, word):
    pocket.faults.add("error", "POST", code=code, message="The array says no.")
    finding = taken(request_of()).finding
    assert f"The array says no (ONTAP {code})" in finding.text and word in finding.fix and snapshots(pocket) == []


def test_no_lock_where_the_volume_takes_none(pocket, request_of):
    assert taken(request_of(lock_days=7)).finding is None
    assert snapshots(pocket)[0].snaplock_expiry_time is None


def test_a_lock_on_an_ontap_before_9_15(pocket, request_of):
    request = request_of(volume="vault", lock_days=7)
    pocket.faults.add("error", "POST", count=1, code="262179", message='Unexpected argument "snaplock.expiry_time".')
    assert taken(request).finding is None
    assert taken(request).finding is None
    assert [("snaplock" in entry.body, "snaplock_expiry_time" in entry.body) for entry in posts(pocket)] == [
        (True, False), (False, True), (False, True)
    ]
    assert all(one.snaplock_expiry_time for one in snapshots(pocket, "vault"))


# -- group commit


def at_once(snapshotter, requests, deadline):
    """The outcome of each request, all asked for at the same moment."""
    outcomes, ready = [None] * len(requests), threading.Barrier(len(requests))

    def work(number):
        ready.wait()
        outcomes[number] = snapshotter.take([requests[number]], deadline)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_twenty_starts_on_one_volume_take_at_most_two_snapshots(pocket, request_of):
    requests = [request_of(domain=vm(number)) for number in range(20)]
    pocket.change(array={"job_seconds": 0.5})
    outcomes = at_once(Snapshotter(), requests, soon(30))
    assert all(one.finding is None for one in outcomes)
    names = {one.name for one in snapshots(pocket)}
    assert {one.name for one in outcomes} == names and 1 <= len(names) <= 2 and len(posts(pocket)) == len(names)
    shared = [json.loads(one.comment).get("more", 0) for one in snapshots(pocket)]
    assert sum(shared) + len(shared) == 20
    assert sum(one.shared for one in outcomes) >= 18


def test_twenty_starts_on_the_same_two_volumes_take_at_most_two_sets(pocket, request_of):
    pairs = [[request_of(domain=vm(number), volume=volume) for volume in ("kvmnfs01", "kvmnfs02")] for number in range(20)]
    pocket.change(array={"job_seconds": 0.5})
    snapshotter, outcomes, ready = Snapshotter(), [None] * 20, threading.Barrier(20)

    def work(number):
        ready.wait()
        outcomes[number] = snapshotter.take(pairs[number], soon(30))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.finding is None and one.name == two.name for one, two in outcomes)
    there = [{one.name for one in snapshots(pocket, volume)} for volume in ("kvmnfs01", "kvmnfs02")]
    assert there[0] == there[1] and len(there[0]) <= 2


def test_nobody_joins_a_snapshot_that_is_under_way(pocket, request_of):
    first, second = request_of(domain=vm(1)), request_of(domain=vm(2))
    pocket.faults.add("slow", "POST", seconds=0.5)
    snapshotter, outcomes = Snapshotter(), {}
    early = threading.Thread(target=lambda: outcomes.update(early=snapshotter.take([first], soon())[0]))
    early.start()
    pocket.log.wait_for(1, "POST")
    outcomes["late"] = snapshotter.take([second], soon())[0]
    early.join()
    assert outcomes["early"].name != outcomes["late"].name and len(snapshots(pocket)) == 2
    assert not snapshotter._lines  # nothing is left of it


def test_a_failure_is_told_to_everybody_who_shares_it(pocket, request_of):
    requests = [request_of(domain=vm(number)) for number in range(5)]
    pocket.change(volumes={"kvmnfs01": {"snapshot_limit": 0}}, array={"job_seconds": 0.2})
    outcomes = at_once(Snapshotter(), requests, soon(30))
    assert all("525062" in one.finding.text and one.name == "" for one in outcomes) and len(posts(pocket)) <= 2


def test_each_waits_no_longer_than_its_own_deadline(pocket, request_of):
    patient, hasty = request_of(domain=vm(1)), request_of(domain=vm(2))
    pocket.change(array={"job_seconds": 1.5})
    snapshotter, outcomes = Snapshotter(), {}
    first = threading.Thread(target=lambda: outcomes.update(first=snapshotter.take([patient], soon(20))[0]))
    first.start()
    pocket.log.wait_for(1, "POST")
    began = time.monotonic()
    outcome = snapshotter.take([hasty], soon(0.3))[0]
    assert time.monotonic() - began < 0.3 + SLACK and "not there within 0.3 s" in outcome.finding.text
    first.join()
    assert outcomes["first"].finding is None


def test_all_volumes_of_a_vm_at_once_and_in_order(pocket, request_of):
    requests = [request_of(volume="kvmnfs01"), request_of(volume="vault"), request_of(volume="kvmnfs02")]
    pocket.change(array={"job_seconds": 0.6})
    began = time.monotonic()
    outcomes = Snapshotter().take(requests, soon())
    assert time.monotonic() - began < 1.5 and [one.volume for one in outcomes] == ["kvmnfs01", "vault", "kvmnfs02"]
    assert all(one.finding is None for one in outcomes)


def test_two_pools_on_one_volume_take_one_snapshot(pocket, request_of):
    first = request_of()
    second = first._replace(pool=first.pool._replace(name="other"))
    outcomes = Snapshotter().take([first, second], soon())
    assert [one.pool for one in outcomes] == ["kvmnfs01", "other"] and outcomes[0].name == outcomes[1].name
    assert len(snapshots(pocket)) == 1 and "more" not in json.loads(snapshots(pocket)[0].comment)


def test_all_volumes_of_a_vm_bear_one_name_and_say_how_many_they_are(pocket, request_of):
    outcomes = Snapshotter().take([request_of(volume="kvmnfs01"), request_of(volume="kvmnfs02", label="weekly")], soon())
    one, = snapshots(pocket)
    two, = snapshots(pocket, "kvmnfs02")
    assert {one.name} == {two.name} == {outcome.name for outcome in outcomes}
    assert [naming.told(each.name, each.comment).volumes for each in (one, two)] == [2, 2]
    assert (one.snapmirror_label, two.snapmirror_label) == (None, "weekly")


def test_a_part_of_a_vm_is_deleted_again_and_told(pocket, request_of):
    requests = [request_of(volume="kvmnfs01"), request_of(volume="vault"), request_of(volume="kvmnfs02")]
    pocket.change(volumes={"kvmnfs01": {"snapshot_limit": 0}})
    outcomes = Snapshotter().take(requests, soon())
    assert not any(snapshots(pocket, name) for name in ("kvmnfs01", "vault", "kvmnfs02"))
    assert [one.name for one in outcomes] == ["", "", ""] and "(ONTAP 525062)" in outcomes[0].finding.text
    for one in outcomes[1:]:
        assert f"no snapshot of volume {one.volume}: kvmnfs01 got none" in one.finding.text and "deleted again" in one.finding.text


@pytest.mark.parametrize("trouble, said", [
    ({"kind": "approval"}, "(ONTAP 262325)"),
    ({"kind": "error", "code": "1638555", "message": "The specified snapshot has not expired or is locked."}, "(ONTAP 1638555)"),
    ({"kind": "error", "code": "524481", "message": "The volume is locked or fenced."}, "(ONTAP 524481)"),
])  # fmt: skip
def test_a_part_that_cannot_be_deleted_is_told(pocket, request_of, trouble, said):
    requests = [request_of(volume="kvmnfs01"), request_of(volume="kvmnfs02")]
    pocket.change(volumes={"kvmnfs02": {"snapshot_limit": 0}})
    pocket.faults.add(method="DELETE", **trouble)
    outcomes = Snapshotter().take(requests, soon())
    left, = snapshots(pocket)
    assert f"{left.name} is only a part, and it stays" in outcomes[0].finding.text and said in outcomes[0].finding.text


def test_a_name_that_one_of_the_volumes_has_is_changed_on_all(pocket, request_of):
    requests = [request_of(volume="kvmnfs01"), request_of(volume="kvmnfs02")]
    chances = iter([7, 7, 8])
    snapshotter = Snapshotter(clock=lambda: 0.0, chance=lambda: next(chances))
    assert snapshotter.take(requests[:1], soon())[0].name[-4:] == "0007"
    outcomes = snapshotter.take(requests, soon())
    assert [one.name[-4:] for one in outcomes] == ["0008", "0008"]
    assert [one.name[-4:] for one in snapshots(pocket, "kvmnfs02")] == ["0008"] and len(snapshots(pocket)) == 2


def test_of_two_pools_on_one_volume_the_first_label_and_the_longer_lock_count(pocket, request_of):
    first, second = request_of(volume="vault", lock_days=1), request_of(volume="vault", label="daily", lock_days=7)
    outcomes = Snapshotter().take([first, second._replace(pool=second.pool._replace(name="other"))], soon())
    made, = snapshots(pocket, "vault")
    assert [one.name for one in outcomes] == [made.name] * 2 and made.snapmirror_label == "daily"
    assert datetime.fromisoformat(made.snaplock_expiry_time) - datetime.now(timezone.utc) > timedelta(days=6)


def test_clock_and_chance_are_passed_in(pocket, request_of):
    request = request_of(reason="migrate")
    outcome = Snapshotter(clock=lambda: 0.0, chance=lambda: 7).take([request], soon())[0]
    assert outcome.name == "kvmontap-19700101T000000Z-migrate-0007"


def test_a_name_that_another_host_has_is_not_taken_for_ours(pocket, request_of):
    """The snapshot of that name is older than what the VM's disks hold now."""
    chances = iter([7, 7, 8])
    snapshotter = Snapshotter(clock=lambda: 0.0, chance=lambda: next(chances))
    outcomes = [snapshotter.take([request_of()], soon())[0] for _ in range(2)]
    assert [one.name[-4:] for one in outcomes] == ["0007", "0008"] and len(snapshots(pocket)) == 2
    stuck = Snapshotter(clock=lambda: 0.0, chance=lambda: 7)
    assert "(ONTAP 525059)" in stuck.take([request_of()], soon())[0].finding.text and len(posts(pocket)) == 7


def test_no_requests_no_outcomes():
    assert Snapshotter().take([], soon()) == ()
