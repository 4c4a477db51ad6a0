"""`kvmontap snapshot` as an operator runs it, against the pocket array."""

import json
import os
import pty
import subprocess
import sys

import pytest

from kvmontap.snapshots import naming
from tests.unit.array.over_https import secret
from tests.unit.snapshots.test_retention import UUID, VM, iso, names, plant

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = {user}
password-file = {password}
ca = {ca}
[pools]
[[kvmnfs01]]
protocol = nfs
server = 192.0.2.11
export = /kvmnfs01
target = /mnt/kvmontap-test-never-mounted
ontap = prod
[[two]]
protocol = nfs
server = 192.0.2.11
export = /deep/er/kvmnfs02
target = /mnt/kvmontap-test-never-mounted-2
ontap = prod
[[local]]
protocol = nfs
server = 192.0.2.11
export = /x
target = /mnt/kvmontap-test-never-mounted-3
"""


@pytest.fixture
def run(tmp_path, pocket):
    def call(*arguments, user=("kvmontap", "pässword-1"), **more):
        conf = tmp_path / "k.conf"
        text = CONF.format(address=pocket.host, user=user[0], password=secret(tmp_path / "password", user[1]), ca=pocket.ca)
        conf.write_text(text + more.get("conf", ""))
        done = subprocess.run(
            [sys.executable, "-m", "kvmontap", "snapshot", arguments[0], "--config", str(conf), *arguments[1:]], cwd=ROOT,
            capture_output=True, text=True, check=False, timeout=120, stdin=more.get("stdin", subprocess.DEVNULL))  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    return call


def test_list_by_vm_pool_and_name(run, pocket):
    old, new = plant(pocket, (2, {"size": 5 << 20, "snapmirror_label": "daily"}), (0, {"owners": ["snapmirror"]}))
    other, = plant(pocket, (1, {"snaplock_expiry_time": iso(-1)}), reason="migrate", volume="kvmnfs02")
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": "hourly.1"}]}})
    shown = run("list")
    assert shown.returncode == 0 and shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["SNAPSHOT", "POOL", "WHEN", "WHY", "VM", "BRINGS", "BACK", "SIZE", "REMARK"] and len(lines) == 4
    assert "5.0 MiB" in lines[1] and "label daily" in lines[1] and "needed by snapmirror" in lines[2] and "locked until" in lines[3]
    for what, wanted in (("vm1", {old, new, other}), (UUID, {old, new, other}), ("two", {other}), (old, {old}), ("kvmnfs01", {old, new})):
        assert {row["snapshot"] for row in json.loads(run("list", "--json", what).stdout)} == wanted
    row = json.loads(run("list", "--json", old).stdout)[0]
    assert set(row) == {
        "snapshot", "uuid", "pools", "array", "svm", "volume", "created", "reason", "vm", "vm_uuid", "host", "more_vms", "size", "label",
        "locked_until", "locked", "owners", "state", "ours", "vms", "volumes", "complete", "group", "replicated", "mirrors"}  # fmt: skip
    assert (row["pools"], row["reason"], row["vm"], row["label"], row["locked"]) == (["kvmnfs01"], "start", "vm1", "daily", False)
    assert "hourly.1" in run("list", "--all").stdout
    nothing = run("list", "vm9")
    assert nothing.returncode == 1 and "no snapshot of a VM or pool vm9" in nothing.stderr


def mirror(pocket):
    """kvmnfs01 is mirrored to the other volume `twice` of the same array."""
    pocket.state.relationships.append({
        "uuid": "6b1f9bd6-1a3d-4e3a-8c3b-111111111111", "state": "snapmirrored", "healthy": True, "lag_time": "PT8H",
        "source": {"path": "svm_kvm:kvmnfs01", "svm": {"name": "svm_kvm"}}, "destination": {"path": "svm_other:twice"}})  # fmt: skip


def test_list_tells_what_is_replicated(run, pocket):
    there, here = plant(pocket, (2, {}), (0, {}))
    alone, = plant(pocket, (1, {}), volume="kvmnfs02")
    copied = next(one for one in pocket.volume("kvmnfs01").snapshots.values() if one.name == there)
    mirror(pocket)
    pocket.state.volume("twice", "svm_other").snapshots[copied.uuid] = copied
    told = {row["snapshot"]: row for row in json.loads(run("list", "--json").stdout)}
    assert [told[name]["replicated"] for name in (there, here, alone)] == [True, False, None]
    assert told[here]["mirrors"] == [{"destination": "svm_other:twice", "state": "snapmirrored", "healthy": True, "lag": 28800.0}]
    shown = run("list").stdout
    assert "SnapMirror kvmnfs01 -> svm_other:twice: snapmirrored, healthy, lag 8 h" in shown and "not replicated" in shown
    pocket.faults.add("error", "GET", "/api/snapmirror*", code="6", message="not authorized for that command", status=403)
    done = run("list")
    assert done.returncode == 0 and "what is replicated is not known" in done.stderr and "kvmontap role" not in done.stdout


def test_list_tells_a_part_of_a_vm(run, pocket):
    whole, part = ({"name": naming.name(0, "start", number), "comment": naming.comment(VM, "start", "kvm01", 0, 2)} for number in (1, 2))
    pocket.change(volumes={"kvmnfs01": {"snapshots": [whole, part]}, "kvmnfs02": {"snapshots": [whole]}})
    told = {(row["volume"], row["snapshot"][-1]): row["complete"] for row in json.loads(run("list", "--json").stdout)}
    assert told == {("kvmnfs01", "1"): True, ("kvmnfs02", "1"): True, ("kvmnfs01", "2"): False}
    assert run("list").stdout.count("only a part: on 1 of 2 volumes") == 1


def test_create_has_snapmirror_take_it_on(run, pocket):
    mirror(pocket)
    more = "[snapshots]\nsnapmirror-update = yes\n"
    done = run("create", "--pool", "kvmnfs01", conf=more)
    assert done.returncode == 0 and "SnapMirror takes it to svm_other:twice" in done.stdout
    assert names(pocket) == {one.name for one in pocket.state.volume("twice", "svm_other").snapshots.values()}
    done = run("create", "--pool", "two", conf=more)
    assert done.returncode == 1 and "[snapmirror.not-updated]" in done.stderr and len(names(pocket, "kvmnfs02")) == 1


def test_list_tells_what_it_could_not_see(run, pocket):
    pocket.refuse()
    done = run("list", "--json")
    assert done.returncode == 1 and json.loads(done.stdout) == [] and "does not answer: connection refused" in done.stderr


def test_create_of_pools(run, pocket):
    done = run("create", "--pool", "kvmnfs01", "--pool", "two", "--label", "weekly", "--json")
    made = json.loads(done.stdout)
    assert done.returncode == 0 and [one["pool"] for one in made] == ["kvmnfs01", "two"]
    one, = pocket.volume("kvmnfs02").snapshots.values()
    assert "-manual-" in one.name and one.snapmirror_label == "weekly" and json.loads(one.comment)["reason"] == "manual"
    assert run("create").returncode == 2 and run("create", "--pool", "none").returncode == 2
    done = run("create", "--pool", "local")
    assert done.returncode == 1 and "names no array" in done.stderr
    done = run("create", "vm1", "--connect", "qemu+unix:///system?socket=/nonexistent/socket")
    assert done.returncode == 1 and "libvirt does not answer at" in done.stderr


def test_delete(run, pocket):
    one, owned = plant(pocket, (1, {}), (0, {"owners": ["snapmirror"]}))
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": "hourly.1"}]}})
    done = run("delete", one)
    assert done.returncode == 2 and "say --yes" in done.stderr and one in names(pocket)
    done = run("delete", "--yes", one, owned, "hourly.1", "gone")
    assert done.returncode == 1 and names(pocket) == {owned, "hourly.1"}
    assert f"deleted {one}" in done.stdout and "it has an owner" in done.stderr and "(ONTAP 1638543)" in done.stderr
    assert "hourly.1 on volume kvmnfs01 is not one of kvmontap's" in done.stderr and "no volume holds a snapshot gone" in done.stderr


def test_delete_takes_the_snapshot_of_a_group_from_all_of_its_volumes(run, pocket):
    """Also from those that no pool lies on."""
    pocket.change(add={"consistency_groups": [{"name": "cg", "svm": "svm_kvm", "volumes": ["kvmnfs01", "kvmnfs02", "vault"]}]})
    scope = "[[whole]]\nprotocol = nfs\nserver = 192.0.2.11\nexport = /kvmnfs01\ntarget = /mnt/kvmontap-test-never-mounted-4\n" \
            "ontap = prod\nsnapshot-scope = consistency-group\n"
    done = run("create", "--pool", "whole", "--json", conf=scope)
    name, = {one["snapshot"] for one in json.loads(done.stdout)}
    assert [names(pocket, volume) for volume in ("kvmnfs01", "kvmnfs02", "vault")] == [{name}] * 3
    assert {row["group"] for row in json.loads(run("list", "--json", name, conf=scope).stdout)} == set(pocket.state.groups)
    done = run("delete", "--yes", name, conf=scope)
    assert done.returncode == 0 and not any(names(pocket, volume) for volume in ("kvmnfs01", "kvmnfs02", "vault")), done.stderr


@pytest.mark.parametrize("answer, gone", [(b"y\n", True), (b"n\n", False), (b"\n", False)])
def test_delete_asks_on_a_terminal(run, pocket, answer, gone):
    one, = plant(pocket, (1, {}))
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    done = run("delete", one, stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert (one not in names(pocket)) is gone and done.returncode == int(not gone) and "Delete? [y/N]" in done.stderr


def test_prune(run, pocket):
    old, owned, young = plant(pocket, (40, {}), (41, {"owners": ["snapmirror"]}), (0, {}))
    elsewhere, _ = plant(pocket, (40, {}), (0, {}), volume="kvmnfs02")
    done = run("prune", "--dry-run")
    assert done.returncode == 0 and f"would delete {old}" in done.stdout and old in names(pocket)
    done = run("prune", "kvmnfs01")
    assert done.returncode == 0 and names(pocket) == {owned, young} and elsewhere in names(pocket, "kvmnfs02")
    assert f"left {owned}: needed by snapmirror" in done.stdout
    report = json.loads(run("prune", "--json").stdout)
    assert [(one["volume"], one["deleted"], [left["why"] for left in one["left"]]) for one in report] == [
        ("kvmnfs01", [], ["owned"]), ("kvmnfs02", [elsewhere], [])]  # fmt: skip
    assert set(report[0]) == {"array", "svm", "volume", "pools", "deleted", "left", "kept", "foreign", "finding"}
    assert run("prune", "none").returncode == 2


def test_prune_that_needs_an_approval_or_a_right(run, pocket):
    plant(pocket, (40, {}), (41, {}), (0, {}))
    pocket.faults.add("approval", "DELETE", count=1)
    done = run("prune")
    assert done.returncode == 1 and "[retention.approval]" in done.stderr and "multi-admin-verify" in done.stderr
    done = run("prune", user=("limited", "limited-1"))
    assert done.returncode == 1 and "(ONTAP 6)" in done.stderr and len(names(pocket)) == 3


@pytest.mark.parametrize("wrong", [
    "[snapshots]\nkeep = 10O\n", "[snapshots]\nkep-days = 0\n", "[snapshot]\nkeep = 100\n", "[[b]]\nprotocol = nfs\n",
])  # fmt: skip
def test_nothing_is_deleted_while_the_file_is_wrong(run, pocket, wrong):
    """A mistyped keep = 100 must not delete all but the default's 20."""
    plant(pocket, (40, {}), (0, {}))
    done = run("prune", conf=wrong)
    assert done.returncode == 1 and "nothing is deleted while" in done.stderr and len(names(pocket)) == 2
    assert run("list", conf=wrong).stdout.count("-start-") == 2
