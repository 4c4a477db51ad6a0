"""The volume and export policy of a new NFS pool, against the pocket array over HTTPS; the command as a user runs it."""

import json

import pytest

from kvmontap.cli import main
from kvmontap.config import parse
from kvmontap.provision import exporting
from kvmontap.provision.exporting import There, Wish
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import authority, judge, secret  # noqa: F401

CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
[pools]
[[vms]]
protocol = nfs
server = 127.0.0.1
export = /kvmnfs01
ontap = prod
[[there]]
protocol = nfs
server = 127.0.0.1
export = /old
ontap = prod
"""


@pytest.fixture
def site(authority, judge, tmp_path, monkeypatch):  # noqa: F811
    """(array, path of the configuration); systemctl and kvmontap only note that they were called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("systemctl", "kvmontap"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with PocketArray({
        "svms": [{"name": "svm_kvm"}, {"name": "other"}],
        "aggregates": [{"name": "aggr1"}],
        "volumes": [{"name": "old", "svm": "svm_kvm", "aggregate": "aggr1"}, {"name": "kvmnfs01", "svm": "other", "aggregate": "aggr1"}],
        "users": [{"name": "kvmontap", "password": "p", "role": "admin"}, {"name": "weak", "password": "p", "role": "weak"}],
        "roles": {"weak": [{"path": "/api/storage/volumes", "access": "readonly"},
                           {"path": "/api/protocols/nfs/export-policies", "access": "readonly"}]},
    }, directory=authority, observers=(judge,) if judge else ()) as pocket:
        conf = tmp_path / "k.conf"
        conf.write_text(CONF.format(address=pocket.host, password=secret(tmp_path / "password", "p"), ca=pocket.ca))
        yield pocket, conf


def provision(conf, *arguments):
    return main(["provision", "--config", str(conf), *arguments])


def posted(pocket):
    return [entry.path for entry in pocket.log.entries("POST")]


def test_plan_first_then_twice_told_then_again(site, tmp_path, capsys):
    pocket, conf = site
    wish = ("vms", "--size", "20G", "--aggregate", "aggr1")
    assert provision(conf, *wish) == 0
    out = capsys.readouterr().out
    assert "export policy kvmnfs01 for 127.0.0.1" in out and "-clientmatch 127.0.0.1 -protocol nfs -rorule sys" in out
    assert "volume create -vserver svm_kvm -volume kvmnfs01 -aggregate aggr1 -size 20480MB" in out and posted(pocket) == []
    assert provision(conf, *wish, "--do") == 1
    assert "say --yes if these are to be made" in capsys.readouterr().err and posted(pocket) == []
    assert provision(conf, *wish, "--do", "--yes") == 0
    assert capsys.readouterr().out.splitlines() == [
        "done: export policy kvmnfs01 for 127.0.0.1", "done: volume kvmnfs01, 20480 MiB, thin, on /kvmnfs01",
        "done: systemctl daemon-reload",
        "done: systemctl start mnt-vms.mount", "done: kvmontap pool apply"]
    (made,) = [one for one in pocket.state.volumes.values() if (one.name, one.svm.name) == ("kvmnfs01", "svm_kvm")]
    assert (made.size, made.path, made.export_policy, made.aggregate) == (20 << 30, "/kvmnfs01", "kvmnfs01", "aggr1")
    (rule,) = pocket.state.export_policies["kvmnfs01"]
    assert rule["clients"] == [{"match": "127.0.0.1"}] and rule["superuser"] == ["sys"]
    before = posted(pocket)
    assert provision(conf, *wish, "--do", "--json") == 0  # nothing is made, so nobody need agree
    told = json.loads(capsys.readouterr().out)
    assert told["done"] == ["systemctl daemon-reload", "systemctl start mnt-vms.mount", "kvmontap pool apply"] and posted(pocket) == before


def test_a_volume_that_is_there_is_not_touched(site, capsys):
    pocket, conf = site
    assert provision(conf, "there", "--size", "1T", "--do", "--yes") == 0
    assert posted(pocket) == [] and "done: systemctl start mnt-there.mount" in capsys.readouterr().out


def test_what_the_array_refuses_is_told_and_ends_it(site, tmp_path, capsys):
    pocket, conf = site
    assert provision(conf, "vms", "--size", "20G", "--do", "--yes") == 1
    assert "aggregates" in capsys.readouterr().err and not (tmp_path / "calls").exists()
    # The policy is there now; another try with an aggregate makes the volume alone.
    assert provision(conf, "vms", "--size", "20G", "--aggregate", "aggr1", "--do", "--yes") == 0
    assert "done: export policy" not in capsys.readouterr().out
    conf.write_text(conf.read_text().replace("username = kvmontap", "username = weak").replace("/kvmnfs01", "/more"))
    assert provision(conf, "vms", "--size", "20G", "--aggregate", "aggr1", "--do", "--yes") == 1
    assert "weak" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [
    ((), "there is no volume kvmnfs01 on the array: say how large it is to be with --size"),
    (("--size", "big"), "--size big is no size such as 500G"),
    (("--size", "5%"), "--size 5% is no size such as 500G"),
])
def test_what_is_missing_for_it(site, capsys, arguments, said):
    assert provision(site[1], "vms", *arguments) == 1
    assert capsys.readouterr().err == f"vms: {said}\n" and posted(site[0]) == []


POOL = parse(CONF.format(address="a", password="/p", ca="/c")).config.pools["vms"]


def test_other_hosts_and_their_security():
    wish = Wish(1 << 30, "", ("192.0.2.0/24", "kvm09"))
    policy, volume = exporting.plan(POOL._replace(security="krb5p"), "s", There(False, False), wish)
    assert policy.body["rules"][0]["clients"] == [{"match": "192.0.2.0/24"}, {"match": "kvm09"}] and "aggregates" not in volume.body
    assert policy.body["rules"][0]["rw_rule"] == ["krb5p"] and "-aggregate" not in volume.command


@pytest.mark.parametrize("pool, said", [
    (POOL._replace(export="/a/b"), "names a directory below a junction"),
    (POOL._replace(export="/1a"), "cannot be the name of a volume"),
    (POOL._replace(export="/a-b"), "cannot be the name of a volume"),
    (POOL._replace(export="/"), "cannot be the name of a volume"),
])
def test_names(pool, said):
    with pytest.raises(ValueError, match=said):
        exporting.name_of(pool)
    assert exporting.name_of(pool._replace(volume="v1")) == "v1"


def test_without_an_address_the_hosts_must_be_named():
    with pytest.raises(ValueError, match="name the hosts with --client"):
        exporting.plan(POOL, "s", There(False, False), Wish(1, "", ()))
