"""kvmontap.gate.verdict: the table of health and policy, and the sentence that a user reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.gate.verdict import LONGEST, Event, judge, one_line, snapshot_findings
from kvmontap.host.match import Hit
from kvmontap.model import DEGRADED, FAILED, OK, UNKNOWN, Config, Finding, Gate, Pool, PoolHealth, Source
from kvmontap.reasons import finding, worst
from kvmontap.snapshots import Outcome

START = Event("vm1", "prepare")
DISK = Source("file", "disk vda", path="/mnt/p/a.img")
MISSING = finding("mount.missing", target="/mnt/p", unit="mnt-p.mount")


def verdict(findings, event=START, sources=(DISK,), **gate):
    config = Config({}, {"p": Pool("p", "nfs", gate=Gate(**gate))}, {})
    return judge(event, [Hit("p", sources)], {"p": worst("p", findings)}, config)


def found(health):
    return Finding("some.code", health, "something is so", "mend it")


@pytest.mark.parametrize("health", [OK, DEGRADED, UNKNOWN, FAILED])
@pytest.mark.parametrize("mode", ["enforce", "warn", "off"])
@pytest.mark.parametrize("array_unknown", ["allow", "refuse"])
def test_the_table(health, mode, array_unknown):
    said = verdict([found(health)], mode=mode, array_unknown=array_unknown)
    refused = mode == "enforce" and (health == FAILED or health == UNKNOWN and array_unknown == "refuse")
    assert said.allow is not refused
    assert bool(said.sentence) is refused
    assert said.code == ("" if health == OK else "some.code")
    assert len(said.warnings) == (0 if refused or health == OK or mode == "off" else 1)


def test_the_sentence():
    since = MISSING._replace(since=0.0)
    said = verdict([since]).sentence
    assert said.startswith("kvmontap refuses to start VM vm1: pool p (disk vda): /mnt/p is not mounted, first seen 19")
    assert said.endswith("; what to do: systemctl start mnt-p.mount [mount.missing]")
    assert verdict([MISSING], Event("vm1", "migrate")).sentence.startswith("kvmontap refuses to let VM vm1 arrive: pool p")


def test_the_worst_comes_first_and_only_what_refuses_is_told():
    said = verdict([found(DEGRADED), found(UNKNOWN), MISSING], array_unknown="refuse")
    assert said.code == "mount.missing"
    assert said.sentence.index("[mount.missing]") < said.sentence.index("[some.code]")
    assert said.sentence.count("[some.code]") == 1 and len(said.warnings) == 1


def test_more_than_a_few_findings_are_counted():
    said = verdict([MISSING] * 5)
    assert said.sentence.count("[mount.missing]") == 3 and "; also 2 more, see journalctl -u kvmontapd" in said.sentence


def test_each_pool_has_its_own_policy():
    config = Config({}, {"p": Pool("p", "nfs", gate=Gate(mode="warn")), "q": Pool("q", "nfs")}, {})
    hits = [Hit("p", (DISK,)), Hit("q", (DISK,))]
    assert judge(START, hits, {"p": worst("p", [MISSING]), "q": PoolHealth("q", OK)}, config).allow
    assert not judge(START, hits, {"p": PoolHealth("p", OK), "q": worst("q", [MISSING])}, config).allow


def test_a_broken_section_is_judged_by_the_general_policy():
    broken = finding("pool.broken", pool="x", file="/etc/kvmontap.conf")
    hit, healths = [Hit("x", (DISK,), True)], {"x": worst("x", [broken])}
    assert not judge(START, hit, healths, Config({}, {}, {})).allow
    assert judge(START, hit, healths, Config({}, {}, {}, gate=Gate(mode="warn"))).allow


def test_disks_that_libvirt_would_drop_do_not_keep_a_vm_down_unless_the_look_at_them_hangs():
    optional = DISK._replace(optional=True)
    assert verdict([MISSING], sources=(optional,)).allow
    assert not verdict([MISSING], sources=(optional, DISK)).allow
    assert not verdict([finding("mount.no-answer", target="/mnt/p", seconds=5.0)], sources=(optional,)).allow


def test_a_snapshot_that_failed_refuses_only_where_one_is_required():
    failure = finding("snapshot.failed", volume="v", error="maximum reached (ONTAP 525062)", fix="delete some")
    outcomes = [Outcome("p", "v", "", failure), Outcome("q", "w", "kvmontap-1", None)]
    assert snapshot_findings(outcomes, {}, {}) == {"p": (failure,)}
    found = snapshot_findings(outcomes, {"p": True, "q": True}, {"q": failure})
    assert [found[name][0].health for name in ("p", "q")] == [FAILED, FAILED]
    said = verdict(found["p"])
    assert not said.allow and "no snapshot of volume v: maximum reached (ONTAP 525062); what to do: delete some" in said.sentence


@given(st.text(max_size=3000))
def test_whatever_an_array_says_is_one_line(text):
    said = verdict([Finding("x.y", FAILED, text, text)], Event(text, "prepare")).sentence
    assert said.isprintable() and len(said) <= LONGEST and one_line(said) == said
