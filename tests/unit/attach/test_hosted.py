"""Waiting for the VM of an array, and stopping the VMs on its storage: against a virsh that says what libvirt's says."""

import socket
import threading
import time

import pytest

from kvmontap.attach import hosted
from kvmontap.attach.call import AttachError
from kvmontap.config import parse
from kvmontap.model import Pool

# $STATE holds a file for each VM that runs, with its XML.  `shutdown` ends a VM unless it is named "deaf".
VIRSH = """#!/bin/sh
shift
echo "$*" >> "$0.log"
state=$(dirname "$0")/state
case $1 in
list) ls "$state";;
domstate)
    [ "$2" != gone ] || { echo "error: failed to get domain 'gone'" >&2; exit 1; }
    [ -e "$state/$2" ] && echo running || echo "shut off";;
dumpxml) cat "$state/$2";;
shutdown) [ "$2" = deaf ] || rm -f "$state/$2";;
destroy) rm -f "$state/$2";;
esac
"""
CONF = """[pools]
[[inner]]
protocol = nfs
server = 127.0.0.1
export = /v
hosted-on = select
[[outer]]
protocol = nfs
server = 127.0.0.1
export = /w
"""
DOMAIN = "<domain><name>{name}</name><uuid>2c2ba7e0-7a4c-4b8e-8a52-bb5d6a1d1b6e</uuid><devices><disk type='file'><source file='{path}'/>" \
         "<target dev='vda'/></disk></devices></domain>"
POOL = Pool("inner", "nfs", "/mnt/inner", server=("127.0.0.1",), export="/v", hosted_on="select")


@pytest.fixture
def virsh(tmp_path, monkeypatch):
    """virsh(name=path): a host where these VMs run, each with one disk; log() is what was asked."""
    program = tmp_path / "virsh"
    program.write_text(VIRSH)
    program.chmod(0o755)
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(hosted, "VIRSH", str(program))
    monkeypatch.setattr(hosted, "AGAIN", 0.02)
    (tmp_path / "kvmontap.conf").write_text(CONF)
    monkeypatch.setenv("KVMONTAP_CONF", str(tmp_path / "kvmontap.conf"))

    class Host:
        def run(self, **machines):
            for name, path in machines.items():
                (tmp_path / "state" / name).write_text(DOMAIN.format(name=name, path=path))

        def log(self):
            return (tmp_path / "virsh.log").read_text().split("\n")[:-1]

        def running(self):
            return sorted(path.name for path in (tmp_path / "state").iterdir())

    return Host()


@pytest.fixture
def port(monkeypatch):
    """A port of this host that takes connections, as the array's NFS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(hosted, "PORTS", {"nfs": (server.getsockname()[1],)})
        yield server


def test_it_waits_until_the_vm_runs(virsh, port):
    began = time.monotonic()
    threading.Timer(0.4, lambda: virsh.run(select="/x")).start()
    hosted.wait("select", [POOL])
    assert time.monotonic() - began >= 0.4 and len(virsh.log()) > 2


def test_a_vm_that_libvirt_does_not_have_is_not_waited_for(virsh):
    with pytest.raises(AttachError, match="libvirt has no such VM; correct hosted-on = of inner"):
        hosted.wait("gone", [POOL])


def test_a_vm_that_does_not_come_is_told_with_its_state(virsh, monkeypatch):
    monkeypatch.setattr(hosted, "PATIENCE", 0.1)
    with pytest.raises(AttachError, match=r"it does not run \(shut off\); start it, then the mounts of inner"):
        hosted.wait("select", [POOL._replace(boot=POOL.boot._replace(timeout=0.1))])


def test_an_array_that_does_not_answer_in_it(virsh, port, monkeypatch):
    virsh.run(select="/x")
    port.close()
    monkeypatch.setattr(hosted, "PATIENCE", 0.1)
    with pytest.raises(AttachError, match="no portal answers"):
        hosted.wait("select", [POOL._replace(boot=POOL.boot._replace(timeout=0.1))])


def test_only_the_vms_on_its_pools_are_stopped_and_never_it(virsh):
    virsh.run(select="/mnt/inner/of-itself.img", web="/mnt/inner/web.img", other="/mnt/outer/other.img", local="/srv/local.img")
    hosted.stop_guests("select", [POOL])
    assert virsh.running() == ["local", "other", "select"]
    assert "shutdown web" in virsh.log() and not any(line.startswith("destroy") for line in virsh.log())


def test_one_that_does_not_go_is_ended_by_force(virsh, monkeypatch, capsys):
    monkeypatch.setattr(hosted, "LEAVE", 0.2)
    virsh.run(select="/x", deaf="/mnt/inner/deaf.img")
    hosted.stop_guests("select", [POOL])
    assert virsh.running() == ["select"] and "destroy deaf" in virsh.log()
    assert "deaf: has not shut down" in capsys.readouterr().err


def test_the_gate_does_not_ask_the_vm_about_its_own_pools(monkeypatch, tmp_path):
    from kvmontap.domain import parse as domain
    from kvmontap.gate import assemble
    from kvmontap.gate.configured import configured

    found = configured(parse(CONF), {}, {})
    for name, wanted in (("select", ["outer"]), ("web", ["inner", "outer"])):
        xml = DOMAIN.format(name=name, path="/mnt/inner/a.img").replace(
            "</devices>", "<disk type='file'><source file='/mnt/outer/b.img'/><target dev='vdb'/></disk></devices>")
        assert [hit.pool for hit in assemble.hits(domain(xml.encode()), found)] == wanted
