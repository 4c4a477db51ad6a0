"""The metrics, with Prometheus' own promtool as the judge of format, rules and expressions."""

import json
import os
import re
import subprocess
import threading

import pytest

from kvmontap import reasons
from kvmontap.array import Client
from kvmontap.array.stored import Stored
from kvmontap.gate.configured import Configured
from kvmontap.metrics import counting, exposition, families, textfile
from kvmontap.model import Array, Config, Finding, Metrics, Pool, PoolHealth
from kvmontap.snapshots.naming import comment
from kvmontap.model import Domain
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import authority, judge, secret  # noqa: F401

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
RULES = os.path.join(ROOT, "packaging/prometheus/kvmontap.rules.yml")
DASHBOARD = os.path.join(ROOT, "packaging/prometheus/kvmontap-dashboard.json")


def known():
    counters = counting.Counters()
    counters.event("prepare", True, "", 0.07)
    counters.event("prepare", False, "mount.missing", 7.0)
    counters.event("migrate", True, "snapshot.failed", 60.0)
    counters.snapshot("p1", "taken")
    counters.snapshot('we"ird\\', "failed")
    healths = {"p1": PoolHealth("p1", "failed", (Finding("mount.missing", "failed", "x"), Finding("mount.missing", "failed", "y"))),
               "p2": PoolHealth("p2", "ok")}
    kept = {"p1": families.Kept({"start": 3, "manual": 1}, 1700000000.5, 1600000000.0, 7), "p2": families.Kept({}, None, None, 0)}
    return families.Known(1700000100.25, 1, healths, counters.counted(), kept)


def text():
    return exposition.text(families.families(known()))


def promtool(*argv, stdin=None):
    done = subprocess.run(["promtool", *argv], input=stdin, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_finds_nothing_wrong_with_the_file():
    assert promtool("check", "metrics", stdin=text()).strip() == ""


def test_what_is_in_it():
    said = text().splitlines()
    for line in ('kvmontap_pool_health{pool="p1",health="failed"} 1', 'kvmontap_pool_health{pool="p1",health="ok"} 0',
                 'kvmontap_pool_health{pool="p2",health="ok"} 1',
                 'kvmontap_events_total{op="prepare",result="refused",code="mount.missing"} 1',
                 'kvmontap_event_seconds_bucket{op="prepare",le="0.05"} 0', 'kvmontap_event_seconds_bucket{op="prepare",le="0.1"} 1',
                 'kvmontap_event_seconds_bucket{op="prepare",le="10"} 2', 'kvmontap_event_seconds_bucket{op="migrate",le="30"} 0',
                 'kvmontap_event_seconds_bucket{op="migrate",le="+Inf"} 1', 'kvmontap_event_seconds_count{op="migrate"} 1',
                 'kvmontap_snapshot_requests_total{pool="we\\"ird\\\\",result="failed"} 1',
                 'kvmontap_snapshots{pool="p1",reason="start"} 3',
                 'kvmontap_volume_snapshots{pool="p2"} 0', 'kvmontap_snapshot_newest_timestamp_seconds{pool="p1"} 1700000000.5',
                 "kvmontap_configuration_problems 1"):
        assert line in said, line
    assert sum(line.startswith("kvmontap_pool_finding") for line in said) == 1


def test_counting_from_many_threads():
    counters = counting.Counters()
    threads = [threading.Thread(target=lambda: [counters.event("prepare", True, "", 0.2) for _ in range(500)]) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    counted = counters.counted()
    assert counted.events == {("prepare", "allowed", ""): 4000} and counted.latencies["prepare"].count == 4000


def names():
    """Every metric that there can be, with a histogram's three."""
    found = set()
    for one in families.families(known()):
        found |= {one.name} | ({one.name + suffix for suffix in ("_bucket", "_sum", "_count")} if one.kind == "histogram" else set())
    return found


def used(expression):
    return set(re.findall(r"kvmontap_\w+", expression))


def test_the_rules_load_and_name_metrics_that_there_are():
    assert "rules found" in promtool("check", "rules", RULES)
    with open(RULES, encoding="utf-8") as stream:
        expressions = re.findall(r"expr: (.*)", stream.read())
    assert len(expressions) == 9 and all(used(one) and used(one) <= names() for one in expressions)


def rule_test(alert, at, series, labels):
    """A test of promtool's: the alert fires at that time and not before its condition holds."""
    return {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series],
            "alert_rule_test": [{"eval_time": "0m", "alertname": alert, "exp_alerts": []},
                                {"eval_time": at, "alertname": alert, "exp_alerts": [{"exp_labels": labels}]}]}


def test_the_alerts_fire(tmp_path):
    with open(RULES, encoding="utf-8") as stream:
        bare = re.sub(r"(?m)^ +annotations:\n(?: {10}.*\n)+", "", stream.read())
    (tmp_path / "rules.yml").write_text(bare)
    here = {"instance": "kvm01", "pool": "p1"}
    tests = [
        rule_test("KvmontapPoolFailed", "5m", [('kvmontap_pool_health{instance="kvm01",pool="p1",health="failed"}', "0 1x10")],
                  {**here, "health": "failed", "severity": "critical"}),
        rule_test("KvmontapStartRefused", "6m",
                  [('kvmontap_events_total{instance="kvm01",op="prepare",result="refused",code="mount.missing"}', "0 0 0 1 1 1 1 1")],
                  {"instance": "kvm01", "op": "prepare", "result": "refused", "code": "mount.missing", "severity": "warning"}),
        rule_test("KvmontapHookSlow", "60m",
                  [(f'kvmontap_event_seconds_bucket{{instance="kvm01",op="prepare",le="{le}"}}', f"0+{step}x80")
                   for le, step in (("5", 0), ("10", 1), ("+Inf", 1))], {"instance": "kvm01", "op": "prepare", "severity": "warning"}),
        rule_test("KvmontapVolumeNearlyFullOfSnapshots", "40m", [('kvmontap_volume_snapshots{instance="kvm01",pool="p1"}', "10 950x60")],
                  {**here, "severity": "warning"}),
    ]
    (tmp_path / "tests.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "tests.yml"))


def test_the_dashboard_is_one_and_its_expressions_are_sound(tmp_path):
    with open(DASHBOARD, encoding="utf-8") as stream:
        board = json.load(stream)
    assert board["uid"] == "kvmontap" and board["schemaVersion"] >= 36
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    variables = {one["name"] for one in board["templating"]["list"]}
    assert variables == {"datasource", "instance", "pool"}
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert all(used(one) and used(one) <= names() for one in expressions)
    assert all(set(re.findall(r"\$(\w+)", one)) <= variables for one in expressions)
    # Panels lie side by side on a grid of 24 columns, none on another.
    taken = set()
    for panel in board["panels"]:
        assert {"type", "title", "gridPos", "targets", "fieldConfig", "options"} <= set(panel)
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken
        taken |= cells
    rules = [{"record": f"panel:{number}", "expr": one.replace("$instance", ".*").replace("$pool", ".*")} for number,
             one in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_the_file_appears_whole_and_readable(tmp_path):
    before = os.umask(0o077)
    try:
        textfile.write(str(tmp_path), "a 1\n")
        textfile.write(str(tmp_path), "a 2\n")
    finally:
        os.umask(before)
    assert [one.name for one in tmp_path.iterdir()] == ["kvmontap.prom"]
    assert (tmp_path / "kvmontap.prom").read_text() == "a 2\n" and (tmp_path / "kvmontap.prom").stat().st_mode & 0o777 == 0o644
    with pytest.raises(OSError):
        textfile.write(str(tmp_path / "away"), "a 1\n")


def test_the_snapshots_of_an_array(authority, judge, tmp_path):  # noqa: F811
    said = comment(Domain("vm1", "0f0e0d0c-0000-4000-8000-000000000001", ()), "start", "kvm01")
    mine = [{"name": f"kvmontap-2026112{day}T080506Z-start-f00d", "comment": said, "create_time": f"2026-11-2{day}T08:05:06+00:00"}
            for day in (1, 3)]
    with PocketArray({
        "svms": [{"name": "svm_kvm"}],
        "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm", "snapshots": [*mine, {"name": "nightly",
                                                                                 "create_time": "2026-11-20T00:00:00+00:00"}]}],
        "users": [{"name": "kvmontap", "password": "p", "role": "admin"}],
    }, directory=authority, observers=(judge,) if judge else ()) as pocket:
        array = Array("prod", pocket.host, svm="svm_kvm", username="kvmontap", ca=pocket.ca, password_file=secret(tmp_path / "password",
                                                                                                                  "p"))
        pools = {"p1": Pool("p1", "nfs", "/mnt/p1", server=("127.0.0.1",), export="/kvmnfs01", ontap="prod"), "p2": Pool("p2", "nfs")}
        config = Config({"prod": array}, pools, {}, metrics=Metrics(str(tmp_path)))
        clients = type("Clients", (), {"get": lambda self, one: client})()
        client = Client(array)
        found = textfile.kept(Configured(config), clients)
        client.close()
    assert found == {"p1": families.Kept({"start": 2}, 1795421106.0, 1795248306.0, 3)}


def test_a_foreign_snapshot_of_our_name_is_not_counted():
    assert textfile.counted((Stored("kvmontap-20261123T080506Z-start-f00d", "u", comment="somebody's"),)).counts == {}


def test_every_code_can_be_a_label():
    assert all(re.fullmatch(r"[a-z.-]+", code) for code in reasons.REASONS)
