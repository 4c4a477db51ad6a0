"""kvmontap.gate.pipeline: one event from XML to verdict, with the real probes, a real file system that can fall silent, and the
pocket array over HTTPS.  Only the table of mounts is written here: it shows a directory as the NFS mount it stands for."""

import json
import subprocess
import threading
import time

import pytest

from kvmontap.config import parse
from kvmontap.gate.assemble import pipeline
from kvmontap.gate.configured import configured
from kvmontap.gate.pipeline import CallerGone
from kvmontap.gate.verdict import Event
from kvmontap.host.mountinfo import Mount
from kvmontap.host.probe import Prober
from tests.unit.array.over_https import secret

UUID = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab"
CONF = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {password}
ca = {ca}
timeout = 2
[pools]
[[kvmnfs01]]
protocol = nfs
server = 192.0.2.11
export = /kvmnfs01
target = {one}
ontap = prod
{pool}
[[kvmnfs02]]
protocol = nfs
server = 192.0.2.11
export = /deep/er/kvmnfs02
target = {two}
ontap = prod
[gate]
min-free = 0%
timeout = 5
{gate}
[snapshots]
{snapshots}
"""
DISK = "<disk type='file' device='disk'><driver name='qemu' type='{form}'/><source file='{path}'/><target dev='vda'/></disk>"


class Host:
    """A host with two pools, mounted from the start."""

    def __init__(self, tmp_path, pocket, targets):
        self.tmp_path, self.pocket, self.targets = tmp_path, pocket, targets
        self.mounted = {0: "/kvmnfs01", 1: "/deep/er/kvmnfs02"}
        self.text = ""
        self.told = []
        self.configure()
        self.prober = Prober(mounts=self.mounts)
        self.pipeline = pipeline(lambda: configured(parse(self.text), {}, {}), str(tmp_path / "run"), self.prober)

    def configure(self, gate="", snapshots="", pool=""):
        self.text = CONF.format(
            address=self.pocket.host, ca=self.pocket.ca, password=secret(self.tmp_path / "password", "pässword-1"),
            one=self.targets[0], two=self.targets[1], gate=gate, snapshots=snapshots, pool=pool,
        )  # fmt: skip

    def mounts(self):
        root = Mount("/", "/dev/vda", "ext4", ("rw",), id=1, parent=0, super_options=("rw",))
        return (root,) + tuple(
            Mount(self.targets[number], f"192.0.2.11:{export}", "nfs4", ("rw",), "/", f"0:{number}", ("rw",), number + 2, 1)
            for number, export in self.mounted.items()
        )

    def xml(self, path="", form="raw", name="vm1"):
        disk = DISK.format(form=form, path=path or f"{self.targets[0]}/a.img")
        return f"<domain><name>{name}</name><uuid>{UUID}</uuid><devices>{disk}</devices></domain>".encode()

    def ask(self, op="prepare", xml=None, tell=None, name="vm1"):
        body = xml if xml is not None else self.xml(name=name)
        return self.pipeline.handle(Event(name, op), body, time.monotonic(), tell or self.told.append)

    def snapshots(self, volume="kvmnfs01"):
        return [json.loads(one.comment)["reason"] for one in self.pocket.volume(volume).snapshots.values()]


@pytest.fixture
def host(tmp_path, pocket):
    targets = [str(tmp_path / name) for name in ("pool1", "pool2")]
    for target in targets:
        subprocess.run(["mkdir", target], check=True)
    made = Host(tmp_path, pocket, targets)
    yield made
    made.prober.close()
    made.pipeline.clients.close()


def test_a_healthy_vm_starts_after_a_snapshot(host):
    said = host.ask()
    (made,) = host.pocket.volume("kvmnfs01").snapshots.values()
    assert (said.allow, said.code, said.warnings, said.snapshots) == (True, "", (), (f"kvmnfs01: {made.name}",))
    assert host.snapshots() == ["start"] and host.snapshots("kvmnfs02") == []
    # Health, then snapshot: each announced with its own time.
    assert [round(seconds, 1) for seconds in host.told] == [5.2, 10.2]


def test_a_vm_of_nobody_costs_no_question(host):
    assert host.ask(xml=host.xml("/var/lib/a.img")) == (True, "", "", (), (), ())
    assert not host.pocket.log.entries()


def test_no_configuration_allows_everything(host):
    host.text = ""
    assert host.ask(xml=b"not even XML").allow


def test_an_arrival_has_one_snapshot_and_the_next_start_its_own(host):
    assert host.ask("migrate").allow and host.ask("prepare").allow
    assert host.snapshots() == ["migrate"]
    assert host.ask("prepare").allow
    assert host.snapshots() == ["migrate", "start"]


def test_an_arrival_is_no_start_even_where_arrivals_have_no_snapshot(host):
    host.configure(snapshots="before = start")
    assert host.ask("migrate").allow and host.ask("prepare").allow
    assert host.snapshots() == []


def test_a_refused_arrival_leaves_no_mark(host):
    export = host.mounted.pop(0)
    assert host.ask("migrate").code == "mount.missing"
    host.mounted[0] = export
    assert host.ask("prepare").allow
    assert host.snapshots() == ["start"]


def test_a_missing_mount_is_refused_without_a_snapshot(host):
    del host.mounted[0]
    said = host.ask()
    assert (said.allow, said.code) == (False, "mount.missing")
    assert host.snapshots() == []


def test_off_looks_at_nothing_but_takes_snapshots(host):
    del host.mounted[0]
    host.configure(gate="mode = off")
    assert host.ask().allow and host.snapshots() == ["start"]


def test_a_volume_offline_on_the_array_is_refused(host):
    assert host.ask().allow
    host.pocket.state.change({"volumes": {"kvmnfs01": {"state": "offline"}}})
    said = host.ask()
    assert (said.allow, said.code) == (False, "volume.offline") and "volume kvmnfs01 is offline" in said.sentence


@pytest.mark.parametrize("required, allow", [("no", True), ("yes", False)])
def test_a_snapshot_that_the_array_refuses(host, required, allow):
    host.configure(snapshots=f"required = {required}")
    host.pocket.state.change({"volumes": {"kvmnfs01": {"snapshot_limit": 0}}})
    said = host.ask()
    assert (said.allow, said.code) == (allow, "snapshot.failed")
    text = said.sentence or said.warnings[0]
    assert "no snapshot of volume kvmnfs01" in text and "(ONTAP 525062)" in text


@pytest.mark.parametrize("gate, required, allow", [("", "no", True), ("array-unknown = refuse", "no", False), ("", "yes", False)])
def test_a_silent_array(host, gate, required, allow):
    host.configure(gate=gate, snapshots=f"required = {required}")
    host.pocket.mute()
    start = time.monotonic()
    said = host.ask()
    assert said.allow is allow
    assert "does not answer: nothing within 2" in (said.sentence or said.warnings[0])
    # The array's own 2 s, and no second wait for a snapshot that cannot be.
    assert time.monotonic() - start < 4


def test_a_silent_mount_is_refused_in_time(tmp_path, pocket, fuse):
    host = Host(tmp_path, pocket, [fuse.target, str(tmp_path / "other")])
    host.text = host.text.replace("timeout = 5", "timeout = 1")
    fuse.tell("silent")
    start = time.monotonic()
    said = host.ask()
    took = time.monotonic() - start
    fuse.tell("answer")
    host.prober.close()
    host.pipeline.clients.close()
    assert (said.allow, said.code) == (False, "mount.no-answer") and 1.0 <= took <= 1.5
    assert host.snapshots() == []


def test_whoever_went_away_has_no_snapshot(host):
    def tell(seconds):
        host.told.append(seconds)
        if len(host.told) == 2:
            raise CallerGone

    with pytest.raises(CallerGone):
        host.ask(tell=tell)
    assert host.snapshots() == []


def test_the_vm_that_is_the_array_is_never_gated(host):
    del host.mounted[0]
    host.configure(pool="hosted-on = select")
    assert host.ask(name="select").allow
    assert not host.ask(name="other").allow


def test_images_beneath_in_another_pool_count(host):
    one, two = host.targets
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", f"{two}/base.img", "1M"], check=True)
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-F"]
    subprocess.run([*make, "raw", "-b", f"{two}/base.img", f"{one}/middle.qcow2"], check=True)
    subprocess.run([*make, "qcow2", "-b", f"{one}/middle.qcow2", f"{one}/top.qcow2"], check=True)
    xml = host.xml(f"{one}/top.qcow2", "qcow2")
    assert host.ask(xml=xml).allow
    assert (host.snapshots(), host.snapshots("kvmnfs02")) == (["start"], ["start"])
    del host.mounted[1]
    said = host.ask(xml=xml)
    assert not said.allow and "pool kvmnfs02 (backing of disk vda" in said.sentence, said.sentence
    # What lies in a pool that is not sound is not opened, so nobody knows what is beneath it.
    del host.mounted[0]
    said = host.ask(xml=xml)
    assert "pool kvmnfs01 (disk vda)" in said.sentence and "kvmnfs02" not in said.sentence


def test_an_image_that_is_not_there_is_libvirts_to_tell(host):
    said = host.ask(xml=host.xml(f"{host.targets[0]}/none.qcow2", "qcow2"))
    assert said.allow and said.code == "image.chain-unknown" and "No such file" in said.warnings[0]


def test_xml_that_cannot_be_read(host):
    for xml in (b"", b"<domain", b"\0" * 100, b"<!DOCTYPE a [<!ENTITY b 'c'>]><domain><name>&b;</name></domain>"):
        said = host.ask(xml=xml)
        assert said.allow and said.code == "domain.unreadable" and len(said.warnings) == 1
        said = host.ask(xml=xml + host.targets[0].encode())
        assert not said.allow and said.sentence.startswith("kvmontap refuses VM vm1: pool kvmnfs01: the domain XML of vm1 cannot be read: ")


def test_a_fault_of_a_probe_is_unknown_and_told(host):
    def broken():
        raise RuntimeError("out of\ncheese")

    host.prober._mounts = broken
    said = host.ask()
    assert said.allow and said.code == "gate.error" and "RuntimeError: out of cheese" in said.warnings[0]
    host.configure(gate="array-unknown = refuse")
    assert not host.ask().allow


def test_a_broken_section_refuses_its_vms_and_no_others(host):
    host.text = host.text.replace("export = /kvmnfs01", "exprot = /kvmnfs01")
    volume = "<disk type='volume'><source pool='kvmnfs01' volume='a'/><target dev='vda'/></disk>"
    xml = f"<domain><name>vm1</name><devices>{volume}</devices></domain>".encode()
    assert host.ask(xml=xml).code == "pool.broken"
    assert host.ask(xml=host.xml(f"{host.targets[1]}/a.img")).allow


def test_twenty_starts_at_once(host):
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(host.ask())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verdicts) == 20 and all(said.allow and said.snapshots for said in verdicts)
    assert 1 <= len(host.snapshots()) <= 20


def test_what_the_daemon_remembers_of_an_array_never_refuses_nor_hides_why(host):
    """Good news serves further starts; where the mount is found bad, the array is asked again, and explains it."""
    lasting = pipeline(host.pipeline.current, str(host.tmp_path / "run"), host.prober, lasting=True)
    host.configure(snapshots="before = none")

    def ask():
        return lasting.handle(Event("vm1", "prepare"), host.xml(), time.monotonic())

    assert ask().allow
    asked = len(host.pocket.log.entries("GET"))
    assert ask().allow and len(host.pocket.log.entries("GET")) == asked
    host.pocket.change(volumes={"kvmnfs01": {"state": "offline"}})
    del host.mounted[0]
    refused = ask()
    assert not refused.allow and refused.code == "volume.offline", refused
    host.pocket.change(volumes={"kvmnfs01": {"state": "online"}})
    host.mounted[0] = "/kvmnfs01"
    assert ask().allow
    lasting.clients.close()
