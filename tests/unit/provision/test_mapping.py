"""A LUN or namespace that nobody sees yet becomes this host's, against the pocket array over HTTPS."""

import pytest

from kvmontap.array import Client
from kvmontap.cli import main
from kvmontap.config import parse
from kvmontap.host import identity
from kvmontap.model import Array
from kvmontap.provision import mapping
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import authority, judge, secret, soon  # noqa: F401

POOLS = parse("""[pools]
[[lun]]
protocol = iscsi
portals = 192.0.2.1
wwid = 3600a098038314c57312b58387638574f
filesystem = xfs
[[ns]]
protocol = nvme-tcp
portals = 192.0.2.1
namespace = 6c1e5a0e-0000-4000-8000-000000000000
filesystem = xfs
""").config.pools
HOSTS = {"lun": ("iqn.2004-10.org.example:kvm01", "iqn.2004-10.org.example:kvm02"),
         "ns": ("nqn.2014-08.org.nvmexpress:uuid:1", "nqn.2014-08.org.nvmexpress:uuid:2")}


@pytest.fixture
def client(authority, judge, tmp_path):  # noqa: F811
    with PocketArray({
        "svms": [{"name": "svm_kvm"}],
        "volumes": [{"name": "v", "svm": "svm_kvm"}],
        "luns": [{"name": "lun0", "volume": "v", "serial": "81LW1+X8v8WO"}],
        "namespaces": [{"name": "ns0", "volume": "v", "uuid": "6c1e5a0e-0000-4000-8000-000000000000"}],
        "users": [{"name": "kvmontap", "password": "p", "role": "admin"}],
    }, directory=authority, observers=(judge,) if judge else ()) as pocket:
        made = Client(Array("prod", pocket.host, svm="svm_kvm", username="kvmontap", ca=pocket.ca,
                            password_file=secret(tmp_path / "password", "p")))
        yield made
        made.close()


@pytest.mark.parametrize("name", POOLS)
def test_plan_do_and_again(client, name):
    pool, hosts = POOLS[name], HOSTS[name]
    wanted = mapping.plan(client, pool, hosts, soon())
    assert pool.name in wanted.command and all(host in wanted.command for host in hosts)
    mapping.show(client, pool, wanted, soon())
    assert mapping.plan(client, pool, hosts[:1], soon()) is None and mapping.plan(client, pool, hosts[1:], soon()) is None
    with pytest.raises(ValueError, match=f"is mapped to {name}, without this host; run: kvmontap doctor {name}"):
        mapping.plan(client, pool, (hosts[0] + "9",), soon())


def test_what_cannot_be_done(client):
    with pytest.raises(ValueError, match="run: kvmontap host-id"):
        mapping.plan(client, POOLS["lun"], (), soon())
    with pytest.raises(ValueError, match="LUN with the serial number"):
        mapping.plan(client, POOLS["lun"]._replace(wwid="3600a098038314c57312b583876385750"), HOSTS["lun"], soon())


def test_the_names_of_a_host():
    found = identity.Identity("iqn.x", (identity.Port("host7", "21:00", "", "", ""),), "nqn.x", "", ())
    assert [identity.names(found, protocol) for protocol in ("iscsi", "fc", "nvme-tcp", "nvme-fc")] == [
        ("iqn.x",), ("21:00",), ("nqn.x",), ("nqn.x",)]
    assert identity.names(identity.Identity("", (), "", "", ()), "iscsi") == ()


CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
[pools]
[[lun]]
protocol = iscsi
portals = 192.0.2.1
wwid = 3600a098038314c57312b58387638574f
filesystem = xfs
ontap = prod
"""


def test_as_a_command(client, tmp_path, capsys, monkeypatch):
    conf, tool = tmp_path / "k.conf", tmp_path / "systemctl"
    conf.write_text(CONF.format(address=client.array.address, password=client.array.password_file, ca=client.array.ca))
    tool.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    argv = ["provision", "lun", "--config", str(conf), "--client", HOSTS["lun"][1]]
    assert main(argv) == 1
    out = capsys.readouterr().out
    assert "lun: to be made on the array: igroup lun with " in out and "lun mapping create -vserver svm_kvm -path" in out
    assert main([*argv, "--do"]) == 1 and "say --yes if that is to be made" in capsys.readouterr().err and not (tmp_path / "calls").exists()
    # The map is made and the pool's unit started; that the device is not here after all ends it.
    assert main([*argv, "--do", "--yes"]) == 1
    out, err = capsys.readouterr()
    assert "done: igroup lun with" in out and "there is no such device" in err
    assert (tmp_path / "calls").read_text().splitlines() == ["daemon-reload", "start kvmontap-iscsi@lun.service"]
    assert mapping.plan(client, POOLS["lun"], HOSTS["lun"][1:], soon()) is None
