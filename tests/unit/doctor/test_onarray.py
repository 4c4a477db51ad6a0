"""The checks of an array, against the pocket array over HTTPS, and of VMs."""

import json

import pytest

from kvmontap.cli import main
from kvmontap.config import parse
from kvmontap.doctor import asking, guests, onarray
from kvmontap.doctor.advice import CHECKS
from kvmontap.domain.pooldefs import PoolDef
from kvmontap.host.identity import Identity, Port
from kvmontap.model import Pool
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import authority, judge, secret  # noqa: F401

IDENTITY = Identity("iqn.2004-10.org.example:kvm01", (Port("host7", "21:00:f4:c7:aa:01:02:03", "", "Online", ""),),
                    "nqn.2014-08.org.nvmexpress:uuid:1", "", ())
CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
[pools]
[[kvmnfs01]]
protocol = nfs
server = 127.0.0.1
export = /kvmnfs01
ontap = prod
[[kvmfc01]]
protocol = fc
wwid = 3600a098038314c57312b58387638574f
filesystem = xfs
ontap = prod
[[kvmns01]]
protocol = nvme-tcp
portals = 127.0.0.1
namespace = 6c1e5a0e-0000-4000-8000-000000000000
filesystem = xfs
ontap = prod
"""
RULE = {"index": 1, "clients": [{"match": "127.0.0.0/8"}], "protocols": ["nfs4"], "ro_rule": ["sys"], "rw_rule": ["sys"],
        "superuser": ["sys"]}
GOOD = {"guarantee": {"type": "volume"}, "snapshot_directory_access_enabled": True, "space": {"snapshot": {"reserve_percent": 5}}}
BLOCK = {"guarantee": {"type": "volume"}, "space": {"snapshot": {"reserve_percent": 0}}}


@pytest.fixture
def array(authority, judge, tmp_path):  # noqa: F811
    """array(volume=..., rules=..., ...): an array that stands behind CONF, and its configuration."""
    started = []

    def start(nfs=None, rules=None, initiator=IDENTITY.ports[0].wwpn, host=IDENTITY.nqn, block=None, role="admin"):
        pocket = PocketArray({
            "svms": [{"name": "svm_kvm"}],
            "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm", "extra": nfs or GOOD}, {"name": "kvmblk01", "svm": "svm_kvm", "path": None,
                                                                                   "extra": block or BLOCK}],
            "export_policies": {"default": [RULE] if rules is None else rules},
            "lifs": [{"name": "lif_a", "svm": "svm_kvm", "address": "127.0.0.1"}],
            "luns": [{"name": "lun0", "volume": "kvmblk01", "serial": "81LW1+X8v8WO"}],
            "namespaces": [{"name": "ns0", "volume": "kvmblk01", "uuid": "6c1e5a0e-0000-4000-8000-000000000000"}],
            "igroups": [{"name": "hosts", "initiators": [initiator], "maps": ["lun0"]}],
            "subsystems": [{"name": "hosts", "hosts": [host], "nqn": "nqn.2020-01.org.lab:a", "maps": ["ns0"]}],
            "users": [{"name": "kvmontap", "password": "p", "role": role}],
        }, directory=authority, observers=(judge,) if judge else ()).start()
        started.append(pocket)
        text = CONF.format(address=pocket.host, password=secret(tmp_path / "password", "p"), ca=pocket.ca)
        loaded = parse(text)
        assert [problem for problem in loaded.problems if not problem.note] == []
        return loaded.config

    yield start
    for pocket in started:
        pocket.stop()


def checks(asked):
    return sorted((one.check, one.pools[0] if one.pools else "") for one in asked.advice)


def test_an_array_as_it_should_be_is_silent(array):
    asked = asking.ask(array(), IDENTITY)
    assert (checks(asked), asked.skipped) == ([], ())


def test_everything_that_is_not(array):
    bad = {"guarantee": {"type": "none"}, "autosize": {"mode": "off"}, "snapshot_directory_access_enabled": False,
           "nas": {"security_style": "ntfs"}, "space": {"snapshot": {"reserve_percent": 0, "autodelete_enabled": True}}}
    rules = [{**RULE, "clients": [{"match": "10.0.0.0/8"}]}]
    asked = asking.ask(array(nfs=bad, rules=rules, initiator="20:00:00:00:00:00:00:99", host="nqn.other",
                             block={"guarantee": {"type": "volume"}, "space": {"snapshot": {"reserve_percent": 5}}}), IDENTITY)
    assert checks(asked) == [
        ("export.rule", "kvmnfs01"), ("lun.map", "kvmfc01"), ("lun.map", "kvmns01"), ("volume.autodelete", "kvmnfs01"),
        ("volume.directory", "kvmnfs01"), ("volume.guarantee", "kvmnfs01"), ("volume.reserve", "kvmfc01"), ("volume.reserve", "kvmnfs01"),
        ("volume.reserve", "kvmns01"), ("volume.style", "kvmnfs01")]
    said = {one.check: one for one in asked.advice}
    assert "-clientmatch 127.0.0.1 -protocol nfs -rorule sys" in said["export.rule"].fix
    fixes = [one.fix for one in asked.advice if one.check == "lun.map"]
    assert fixes == [f"lun igroup add -vserver svm_kvm -igroup hosts -initiator {IDENTITY.ports[0].wwpn}",
                     f"vserver nvme subsystem host add -vserver svm_kvm -subsystem hosts -host-nqn {IDENTITY.nqn}"]


def test_a_role_that_may_read_little_is_told_and_no_error(array):
    config = array(role="none")
    asked = asking.ask(config, IDENTITY)
    assert asked.skipped and all(one.check in ("array.finding", "array.silent") for one in asked.advice)


def test_an_array_that_is_silent_is_asked_once(array):
    config = array()
    away = config._replace(arrays={"prod": config.arrays["prod"]._replace(address="127.0.0.1:1")})
    assert [one.check for one in asking.ask(away, IDENTITY).advice] == ["array.silent"]


NFS_POOL = Pool("n", "nfs", "/mnt/n", server=("192.0.2.1",), export="/n")


@pytest.mark.parametrize("rule, told", [
    ({}, []),
    ({"clients": [{"match": "127.0.0.1"}]}, []),
    ({"clients": [{"match": "10.0.0.1,127.0.0.1"}]}, []),
    ({"clients": [{"match": "192.0.2.0/24"}]}, ["export.rule"]),
    ({"clients": [{"match": "kvm01.example.com"}]}, []),  # only the array can resolve it
    ({"clients": [{"match": "@kvmhosts"}]}, []),
    ({"protocols": ["cifs"]}, ["export.rule"]),
    ({"protocols": ["nfs3"]}, ["export.rule"]),
    ({"protocols": ["any"], "ro_rule": ["any"], "rw_rule": ["any"], "superuser": ["any"]}, []),
    ({"ro_rule": ["krb5"]}, ["export.rule"]),
    ({"rw_rule": ["never"]}, ["export.read-only"]),
    ({"superuser": ["none"]}, ["export.root"]),
    ({"clients": "wrong"}, ["export.rule"]),
])
def test_export_rules(rule, told):
    policy = {"name": "default", "svm": {"name": "s"}, "rules": [{**RULE, **rule}]}
    assert [one.check for one in onarray.export(policy, NFS_POOL, ("127.0.0.1",), "v")] == told


def test_the_first_rule_that_fits_decides():
    policy = {"name": "p", "svm": {"name": "s"}, "rules": [{**RULE, "index": 2}, {**RULE, "index": 1, "rw_rule": ["never"]}]}
    assert [one.check for one in onarray.export(policy, NFS_POOL, ("127.0.0.1",), "v")] == ["export.read-only"]


@pytest.mark.parametrize("generation, major, told", [(9, 17, 0), (9, 14, 0), (9, 13, 1), (9, 7, 2), (10, 0, 0), (0, 0, 0)])
def test_what_a_version_lacks(generation, major, told):
    record = {"version": {"generation": generation, "major": major}}
    assert len(list(onarray.version(record, [NFS_POOL._replace(trunking=True)]))) == told


def test_clocks():
    assert [list(onarray.clock(ahead, "prod")) for ahead in (0.9, -4.0)] == [[], []]
    (told,) = onarray.clock(-90.0, "prod")
    assert told.text == "the clock of array prod is 90 s behind this host's"


VM = """<domain type='kvm'><name>web1</name><uuid>0f0e0d0c-0000-4000-8000-000000000001</uuid><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>
<source file='/mnt/n/ok.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/mnt/n/a.img'/><target dev='sda' bus='sata'/></disk>
<disk type='volume' device='disk'><driver name='qemu' type='raw' cache='unsafe'/>
<source pool='n' volume='b'/><target dev='sdb' bus='scsi'/></disk>
<disk type='file' device='disk'><source file='/var/lib/libvirt/images/c.img'/><target dev='vdc' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='/iso/d.iso'/><target dev='sdd' bus='sata'/><readonly/></disk>
<disk type='file' device='disk'><source file='/iso/e.img'/><target dev='vde' bus='virtio'/><readonly/></disk>
{controller}</devices></domain>"""


def test_vms():
    config = parse("[pools]\n[[n]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /n\n").config
    defs = {"n": PoolDef("n", "dir", "/mnt/n")}
    told = guests.advice({"web1": VM.format(controller="")}, config, defs)
    assert [(one.check, one.text) for one in told] == [
        ("vm.bus", "disk sda of VM web1 hangs on sata"), ("vm.cache", "disk sda of VM web1 has cache = writeback, the default"),
        ("vm.cache", "disk sdb of VM web1 has cache = unsafe"),
        ("vm.outside", "disk vdc of VM web1 is /var/lib/libvirt/images/c.img, in no pool of the file")]
    emulated = guests.advice({"web1": VM.format(controller="<controller type='scsi' model='lsilogic'/>")}, config, defs)
    assert ("vm.bus", "disk sdb of VM web1 hangs on scsi (lsilogic)") in [(one.check, one.text) for one in emulated]


def test_the_command_offline_and_its_json(tmp_path, capsys):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=fedora\nPRETTY_NAME=Fedora\n")
    (tmp_path / "etc/kvmontap.conf").write_text("[pools]\n[[n]]\nprotocol = nfs\nserver = h\nexport = /n\n")
    argv = ["doctor", "--root", str(tmp_path), "--config", "/etc/kvmontap.conf"]
    assert main(argv) == 1
    out = capsys.readouterr().out
    assert "wrong: host: mounting NFS needs mount.nfs of the package nfs-utils (n)\n    why: without this program" in out
    assert "    do:  dnf install nfs-utils\n" in out and "not checked: neither the arrays nor libvirt" in out
    assert main([*argv, "--json", "n"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["family"] == "fedora" and set(told["advice"][0]) == {"side", "check", "level", "text", "why", "fix", "pools"}
    assert {one["check"] for one in told["advice"]} <= set(CHECKS)
    assert main([*argv, "web"]) == 2
