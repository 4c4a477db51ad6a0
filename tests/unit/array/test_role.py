"""The role that `kvmontap role` prints: enough for everything that our client asks for, and not a line more.

The pocket array gives the account exactly that role.  What is needed is taken from the requests that really came in.
"""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from kvmontap import model
from kvmontap.array import Client, compliance, fileclone, groups, look
from kvmontap.array.errors import ArrayError
from kvmontap.array.role import RIGHTS, body, commands, notes, role
from kvmontap.array.snapshot import Wanted, create
from kvmontap.array.standing import ask
from kvmontap.array.stored import delete, stored
from kvmontap.config import parse
from kvmontap.doctor import asking
from kvmontap.host import identity
from kvmontap.snapshots.mirror import after_snapshot
from tests.pocket_array import PocketArray
from tests.pocket_array.exchange import ApiError
from tests.pocket_array.judge import description_path
from tests.pocket_array.logins import _ACCESS, Logins, User, _fits
from tests.unit.array.over_https import secret, soon

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
POOLS = {
    "nfs": model.Pool("nfs", "nfs", server=("192.0.2.11",), export="/kvmnfs01", ontap="prod", snapshot_scope="consistency-group",
                      snapshots=model.Snapshots(snapmirror_update=True, lock_days=1)),
    "smb": model.Pool("smb", "smb", server=("192.0.2.12",), share="kvmsmb01", ontap="prod"),
    "lun": model.Pool("lun", "fc", wwid="3600a098038314c57312b58387638574f", ontap="prod"),
    "namespace": model.Pool("namespace", "nvme-tcp", namespace="6c1e5a0e-0000-4000-8000-000000000000", ontap="prod"),
}
CONFIG = model.Config({}, POOLS, {})


class Site(NamedTuple):
    pocket: PocketArray
    client: Client


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The array hands out a job at once, as a busy one does."""
    monkeypatch.setattr(fileclone, "_WAIT", 0)


@pytest.fixture
def site(authority, judge, tmp_path):
    """site(rights): an array whose account has exactly these rights, and our client logged in to it."""
    made = []

    def start(rights):
        directory = tmp_path / f"volume{len(made)}"
        directory.mkdir()
        (directory / "vm.img").write_text("x")
        backend = {"kind": "copies", "directory": str(directory), "snapshots": str(tmp_path / f"snapshots{len(made)}")}
        pocket = PocketArray({
            "svms": [{"name": "svm_kvm"}],
            "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm", "backend": backend}],
            "lifs": [{"name": "lif_a", "svm": "svm_kvm", "address": "192.0.2.11"}, {"name": "lif_b", "svm": "svm_kvm",
                                                                                  "address": "192.0.2.12", "node": "node2"}],
            "shares": [{"name": "kvmsmb01", "svm": "svm_kvm", "path": "/kvmnfs01/share"}],
            "luns": [{"name": "lun0", "volume": "kvmnfs01", "serial": "81LW1+X8v8WO"}],
            "namespaces": [{"name": "ns0", "volume": "kvmnfs01", "uuid": "6c1e5a0e-0000-4000-8000-000000000000"}],
            "relationships": [{"uuid": "6b1f9bd6-1a3d-4e3a-8c3b-111111111111", "state": "snapmirrored", "source": {
                "path": "svm_kvm:kvmnfs01", "svm": {"name": "svm_kvm"}}, "destination": {"path": "svm_dr:kvmnfs01"}}],
            "consistency_groups": [{"name": "cg", "svm": "svm_kvm", "volumes": ["kvmnfs01"]}],
            "igroups": [{"name": "hosts", "initiators": ["20:00:00:00:00:00:00:01"], "maps": ["lun0"]}],
            "subsystems": [{"name": "hosts", "hosts": ["nqn.2014-08.org.nvmexpress:uuid:1"], "nqn": "nqn.2020-01.org.lab:a",
                            "maps": ["ns0"]}],
            "users": [{"name": "kvmontap", "password": "least", "role": "kvmontap"}],
            "roles": {"kvmontap": [{"path": right.path, "access": right.access} for right in rights]},
        }, directory=authority, observers=(judge,) if judge else ()).start()
        client = Client(model.Array("prod", pocket.host, svm="svm_kvm", username="kvmontap",
                                    password_file=secret(tmp_path / "password", "least"), ca=pocket.ca))
        made.extend((client.close, pocket.stop))
        return Site(pocket, client)

    yield start
    for stop in made:
        stop()


# -- everything that we ever do with an array, each a name and a function that tells what was refused


def _looked(client, name):
    seen = look(client, POOLS[name], soon())
    return [one.text for one in seen.findings if one.code == "array.rights"] + list(seen.skipped)


def _reference(client):
    return look(client, POOLS["nfs"], soon()).ref


def _snapshot(client, name):
    create(client, _reference(client), Wanted(name, "{}"), soon())


def take(client):
    _snapshot(client, "kvmontap-a")


def list_and_delete(client):
    _snapshot(client, "kvmontap-b")
    found = stored(client, _reference(client), soon())
    delete(client, _reference(client), found[-1].uuid, soon())


def take_of_a_group(client):
    group, = groups.groups(client, "svm_kvm", soon())
    groups.create(client, group, Wanted("kvmontap-g", "{}"), soon())
    groups.delete(client, group.uuid, "kvmontap-g", soon())


def lock(client):
    compliance.now(client, soon(), 0.0)
    return [] if client.compliance[0] is not None else ["no compliance clock"]


def mirror(client):
    updated = after_snapshot([client], _reference(client), soon())
    return [] if updated.begun else [str(updated.finding)]


def restore(client):
    _snapshot(client, "kvmontap-c")
    fileclone.clone(client, _reference(client), "kvmontap-c", "vm.img", "back.img", soon())


def stands_behind(client):
    return list(ask(client, POOLS.values(), soon()).skipped)


def doctor(client):
    """What `kvmontap doctor` asks of an array, but for the version, which a role cannot be given without all of the cluster."""
    skipped = []
    for pool in POOLS.values():
        asked = asking.Inquiry(client, [pool], identity.read("/nowhere"), [], skipped)
        asked.pool(pool, look(client, pool, soon()).ref)
    return skipped


DOINGS = {
    "see what doctor asks for": doctor,
    "judge an NFS pool": lambda client: _looked(client, "nfs"),
    "judge an SMB pool": lambda client: _looked(client, "smb"),
    "judge a LUN": lambda client: _looked(client, "lun"),
    "judge a namespace": lambda client: _looked(client, "namespace"),
    "take a snapshot": take,
    "list and delete snapshots": list_and_delete,
    "take a snapshot of a group": take_of_a_group,
    "update SnapMirror": mirror,
    "read the compliance clock": lock,
    "restore a file": restore,
    "see what stands behind": stands_behind,
}


def refusals(client):
    """{doing: why} of what this account cannot do."""
    told = {}
    for name, doing in DOINGS.items():
        try:
            said = doing(client)
        except ArrayError as error:
            said = [f"{error.finding.code}: {error.finding.text}"]
        except AttributeError:
            said = ["there is no volume to work on"]
        if said:
            told[name] = said
    return told


def whole_role():
    """What the account of a cluster gets that has all these pools."""
    return role(model.Array("prod", "x", svm="svm_kvm"), CONFIG, vserver="cluster1").rights


def allowing():
    return [right for right in whole_role() if right.access != "none"]


def decides(path, rights):
    """The right that decides on a request, by the array's own rule."""
    fitting = [right for right in rights if _fits(right.path, path)]
    return max(fitting, key=lambda right: len(right.path)) if fitting else None


def test_everything_works_with_exactly_the_role_and_uses_all_of_it(site):
    rights = whole_role()
    made = site(rights)
    assert refusals(made.client) == {}
    asked = {(entry.method, entry.path) for entry in made.pocket.log.entries()}
    used = {}
    for method, path in asked:
        used.setdefault(decides(path, rights).path, set()).add(method)
    assert set(used) == {right.path for right in allowing()}, "a line that no request needs"
    for right in allowing():
        smaller = [name for name, methods in _ACCESS.items() if methods < _ACCESS[right.access]]
        assert not any(used[right.path] <= _ACCESS[name] for name in smaller), f"{right.path} needs less than {right.access}"


@pytest.mark.parametrize("gone", allowing(), ids=lambda right: right.path)
def test_without_any_one_line_something_is_refused(site, gone):
    told = refusals(site([right for right in whole_role() if right is not gone]).client)
    expected = {
        "/api/storage/volumes": "judge an NFS pool",
        "/api/storage/volumes/*/snapshots": "take a snapshot",
        "/api/application/consistency-groups": "take a snapshot of a group",
        "/api/snapmirror/relationships": "update SnapMirror",
        "/api/storage/snaplock/compliance-clocks": "read the compliance clock",
        "/api/cluster/jobs": "restore a file",
        "/api/storage/file/clone": "restore a file",
        "/api/svm/svms": "judge an NFS pool",
        "/api/network/ip/interfaces": "judge an NFS pool",
        "/api/protocols/cifs/shares": "judge an SMB pool",
        "/api/storage/luns": "judge a LUN",
        "/api/storage/namespaces": "judge a namespace",
        **{f"/api/protocols/{path}": "see what doctor asks for" for path in (
            "nfs/export-policies", "san/igroups", "san/lun-maps", "nvme/subsystems", "nvme/subsystem-maps")},
        **{path: "see what stands behind" for path in (
            "/api/protocols/san/igroups", "/api/protocols/nvme/subsystems", "/api/network/fc/interfaces",
            "/api/storage/aggregates", "/api/cluster/mediators", "/api/cluster/metrocluster")},
    }
    assert expected[gone.path] in told, told


def test_an_account_of_an_svm_is_not_given_what_only_the_cluster_has():
    one = role(model.Array("prod", "x", svm="svm_kvm"), CONFIG)
    assert not any(right.path.startswith(("/api/cluster/m", "/api/storage/aggr")) for right in one.rights)
    assert any("--vserver with the cluster's name" in note for note in notes(one))
    whole = role(model.Array("prod", "x"), CONFIG, vserver="cluster1")
    assert not any("--vserver with the cluster's name" in note for note in notes(whole))


def test_the_account_reads_no_file():
    """Reading /storage/volumes would bring /storage/volumes/UUID/files/PATH with it, which gives out what is in a file."""
    whole = [{"path": right.path, "access": right.access} for right in RIGHTS]
    user, path = User("kvmontap", role="kvmontap"), "/api/storage/volumes/0f0e/files/vm.img"
    with pytest.raises(ApiError):
        Logins([], {"kvmontap": whole}).allow(user, "GET", path)
    Logins([], {"kvmontap": [one for one in whole if one["access"] != "none"]}).allow(user, "GET", path)


def test_only_what_the_file_uses():
    quiet = POOLS["nfs"]._replace(snapshots=model.Snapshots(before=()))
    array = model.Array("prod", "x", svm="svm_kvm", username="kvm", password_file="/p")
    few = role(array, model.Config({}, {"nfs": quiet, "elsewhere": POOLS["smb"]._replace(ontap="other")}, {}))
    paths = {right.path for right in few.rights}
    assert {"/api/storage/volumes/*/snapshots", "/api/storage/file/clone", "/api/protocols/cifs/shares"}.isdisjoint(paths)
    assert "/api/network/ip/interfaces" in paths
    block = role(array, model.Config({}, {"fc": model.Pool("fc", "fc", ontap="prod")}, {}))
    assert {"/api/network/ip/interfaces", "/api/storage/file/clone"}.isdisjoint(right.path for right in block.rights)
    whole = {right.path: right.access for right in role(array, model.Config({}, {}, {}), everything=True).rights}
    assert set(whole) == {right.path for right in RIGHTS} and whole["/api/storage/volumes"] == "all"
    assert {right.access for right in few.rights if right.path == "/api/storage/volumes"} == {"readonly"}
    told = {right.path: right.access for right in role(array, CONFIG).rights}
    assert told["/api/snapmirror/relationships"] == "read_create"
    assert {right.path: right.access for right in few.rights}["/api/snapmirror/relationships"] == "readonly"


def test_the_commands():
    array = model.Array("prod", "x", svm="svm_kvm", username="kvm", password_file="/p")
    lines = commands(role(array, CONFIG))
    assert lines[0] == 'security login rest-role create -vserver svm_kvm -role kvmontap -api "/api/storage/volumes" -access readonly'
    assert lines[-2:] == ("vserver services web access create -vserver svm_kvm -name rest -role kvmontap",
                          "security login create -vserver svm_kvm -user-or-group-name kvm -application http "
                          "-authentication-method password -role kvmontap")
    assert "-authentication-method cert" in commands(role(array._replace(password_file="", certificate="/c"), CONFIG))[-1]
    assert "login create" not in commands(role(array._replace(password_file="", token_file="/t"), CONFIG))[-1]


def test_the_body_is_ontaps(judge):
    """As the description of POST /security/roles has it, where that is at hand."""
    made = body(role(model.Array("prod", "x", svm="svm_kvm"), CONFIG))
    assert set(made) == {"name", "owner", "privileges"} and made["owner"] == {"name": "svm_kvm"}
    if description_path():
        with open(description_path(), encoding="utf-8") as stream:
            words = json.load(stream)["definitions"]["RolePrivilege"]
        assert set(made["privileges"][0]) <= set(words["properties"])
        # The only paths below a volume that a role of ONTAP's can name.
        for right in RIGHTS:
            if "*" in right.path:
                assert right.path.replace("*", "{volume.uuid}") in words["description"]


CONF = """[ontap]
[[prod]]
address = cluster1.example.com
svm = svm_kvm
username = kvm
password-file = /etc/kvmontap/prod.password
[[dr]]
address = cluster2.example.com
token-file = /etc/kvmontap/dr.token
[pools]
[[a]]
protocol = nfs
server = 192.0.2.11
export = /a
ontap = prod
"""


def test_as_a_command(tmp_path):
    path = tmp_path / "k.conf"
    path.write_text(CONF)

    def run(*more, conf=str(path)):
        done = subprocess.run([sys.executable, "-m", "kvmontap", "role", "--config", conf, *more], cwd=ROOT, capture_output=True,
                              text=True, check=False, timeout=60)
        assert "Traceback" not in done.stderr
        return done

    assert parse(CONF).problems == ()
    done = run()
    assert done.returncode == 0 and done.stdout.startswith("# array prod (cluster1.example.com)\n")
    plain = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    assert all(line.startswith(("security login ", "vserver services web access ")) for line in plain)
    assert "-vserver VERS" not in run("prod").stdout and "-vserver cluster9" in run("prod", "--vserver", "cluster9").stdout
    told, = json.loads(run("dr", "--json").stdout)
    assert set(told) == {"array", "user", "role", "commands", "notes"} and "owner" not in told["role"]
    assert any("token" in note for note in told["notes"])
    assert run("none").returncode == 2
    (tmp_path / "empty.conf").write_text("")
    assert run(conf=str(tmp_path / "empty.conf")).returncode == 1
