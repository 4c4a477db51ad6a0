"""The identities of a host, from the files and the /sys that packages and kernels write."""

import json
import os
import subprocess
import sys

import pytest

from kvmontap.host import identity

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
IQN = "iqn.1993-08.org.debian:01:5f3c1d2e9a7b"
NQN = "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0034-5910-8051-b2c04f4d3333"
# As Debian's open-iscsi writes it.
INITIATOR = f"""## DO NOT EDIT OR REMOVE THIS FILE!
## If you remove this file, the iSCSI daemon will not start.
InitiatorName={IQN}
"""


def plant(root, **files):
    names = {"initiator": identity.INITIATOR, "nqn": identity.HOSTNQN, "hostid": identity.HOSTID, "conf": "etc/kvmontap.conf"}
    for key, text in files.items():
        path = root / names.get(key, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def port(root, name, wwpn, state="Online"):
    for key, text in (("port_name", wwpn), ("node_name", "0x2000f4c7aa010203"), ("port_state", state), ("speed", "32 Gbit")):
        plant(root, **{f"sys/class/fc_host/{name}/{key}": text + "\n"})


def host_id(root, *more):
    done = subprocess.run([sys.executable, "-m", "kvmontap", "host-id", "--root", str(root), "--config", "/etc/kvmontap.conf", *more],
                          cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    return done


def test_all_of_them(tmp_path):
    plant(tmp_path, initiator=INITIATOR, nqn=NQN + "\n", hostid="4c4c4544-0034-5910-8051-b2c04f4d3333\n")
    port(tmp_path, "host10", "0x2101f4c7aa010203", "Linkdown")
    port(tmp_path, "host7", "0x2100f4c7aa010203")
    found = identity.read(str(tmp_path))
    assert (found.iqn, found.nqn, found.missing) == (IQN, NQN, ())
    assert [(one.host, one.wwpn, one.wwnn, one.state, one.speed) for one in found.ports] == [
        ("host7", "21:00:f4:c7:aa:01:02:03", "20:00:f4:c7:aa:01:02:03", "Online", "32 Gbit"),
        ("host10", "21:01:f4:c7:aa:01:02:03", "20:00:f4:c7:aa:01:02:03", "Linkdown", "32 Gbit")]
    done = host_id(tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [f"iSCSI  {IQN}", "FC     21:00:f4:c7:aa:01:02:03  host7 Online",
                                        "FC     21:01:f4:c7:aa:01:02:03  host10 Linkdown", f"NVMe   {NQN}"]
    told = json.loads(host_id(tmp_path, "--json").stdout)
    assert set(told) == {"iqn", "ports", "nqn", "hostid", "missing"} and told["missing"] == {}
    assert told["ports"][0] == {"host": "host7", "wwpn": "21:00:f4:c7:aa:01:02:03", "wwnn": "20:00:f4:c7:aa:01:02:03", "state": "Online",
                                "speed": "32 Gbit"}


@pytest.mark.parametrize("text, says", [
    ("GenerateName=yes\n", "systemctl start open-iscsi"),
    ("#InitiatorName=iqn.1993-08.org.debian:01:x\n", "iscsi-iname"),
    ("InitiatorName=kvm01\n", "is no initiator name"),
])  # fmt: skip
def test_an_initiator_file_without_a_name(tmp_path, text, says):
    plant(tmp_path, initiator=text)
    found = identity.read(str(tmp_path))
    assert found.iqn == "" and says in dict(found.missing)["iqn"]


def test_none_is_no_fault_until_a_pool_needs_one(tmp_path):
    done = host_id(tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "has no iSCSI initiator name" in done.stdout
    plant(tmp_path, conf="[pools]\n[[a]]\nprotocol = nvme-tcp\nportals = 10.0.0.1\nnamespace = 6c1e5a0e-0000-4000-8000-000000000000\n"
          "filesystem = xfs\n")
    done = host_id(tmp_path)
    assert done.returncode == 1 and "nvme gen-hostnqn" in done.stderr and "iscsi" not in done.stderr
    plant(tmp_path, nqn="host-a\n")
    done = host_id(tmp_path, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["nqn"] is None
    assert "is no NQN" in json.loads(done.stdout)["missing"]["nqn"]


def test_what_each_protocol_needs():
    assert identity.wanted(("nfs", "smb")) == ()
    assert identity.wanted(("fc", "iscsi")) == ("iqn", "wwpn")
    assert identity.wanted(("nvme-fc",)) == ("wwpn", "nqn")
