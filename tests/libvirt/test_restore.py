"""`kvmontap snapshot restore` with a real libvirtd: the array's snapshots are copies of the pool's directory.

The command runs on this machine and libvirtd in its namespaces; both see the pool at the same path.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.libvirt import tree
from tests.libvirt.kvmhost import KvmHost, wait
from tests.pocket_array.judged import judged_array
from tests.unit.array.over_https import secret

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
server = 192.0.2.11
export = /kvmnfs01/vms
target = {target}
ontap = prod
[gate]
mode = off
"""
OLD, NEW = b"A" * (4 << 20), b"B" * (4 << 20)


class Site:
    def __init__(self, host, array, directory, tmp_path):
        self.host, self.array, self.directory = host, array, directory
        self.conf = tmp_path / "kvmontap.conf"
        self.conf.write_text(CONF.format(
            address=array.host, password=secret(tmp_path / "password", "secret-1"), ca=array.ca, target=directory / "vms"))  # fmt: skip
        self.env = {**os.environ, "KVMONTAP_CONF": str(self.conf), "KVMONTAP_STATE": str(tmp_path / "state")}
        self.uri = f"qemu+unix:///system?socket={directory.parent}/kvm01/libvirt-sock"
        self.image = directory / "vms/g.img"
        self.image.write_bytes(OLD)
        self.uuid = host.define("g", f"file='{self.image}'")
        done = self.run("create", "g", "--json")
        assert done.returncode == 0, done.stderr
        self.snapshot = json.loads(done.stdout)[0]["snapshot"]
        self.image.write_bytes(NEW)

    def command(self, command, *arguments):
        connect = [] if command in ("prune", "delete") else ["--connect", self.uri]
        return [sys.executable, "-m", "kvmontap", "snapshot", command, *arguments, *connect]

    def run(self, *arguments):
        done = subprocess.run(self.command(*arguments), cwd=tree.ROOT, env=self.env, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=120)  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout and "KVMONTAP_DEBUG" not in done.stderr, done.stderr
        return done

    def restore(self, *arguments):
        return self.run("restore", "g", "--from", self.snapshot, *arguments)

    def files(self):
        return sorted(os.listdir(self.directory / "vms"))


@pytest.fixture
def site(tmp_path, shared):
    directory = shared / "kvmnfs01"
    (directory / "vms").mkdir(parents=True)
    description = {
        "svms": [{"name": "svm_kvm"}],
        "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm", "backend": {
            "kind": "copies", "directory": str(directory), "snapshots": str(tmp_path / "snapshots")}}],
        "users": [{"name": "kvmontap", "password": "secret-1"}],
    }  # fmt: skip
    (shared / "ca").mkdir(exist_ok=True)
    with judged_array(description, directory=str(shared / "ca")) as array, KvmHost(tmp_path / "kvm01", shared) as host:
        inside = host.path(str(shared))
        inside.parent.mkdir(parents=True)
        inside.symlink_to("/shared")
        host.start_libvirt()
        yield Site(host, array, directory, tmp_path)


def test_create_says_which_vm(site):
    row, = json.loads(site.run("list", "--json", "g").stdout)
    assert (row["snapshot"], row["vm"], row["vm_uuid"], row["reason"]) == (site.snapshot, "g", site.uuid, "manual")


def test_list_tells_every_vm_that_a_snapshot_brings_back(site):
    """Also one that it was not taken for; not one that lies elsewhere."""
    (site.directory / "vms/beside.img").write_bytes(OLD)
    site.host.define("beside", f"file='{site.directory}/vms/beside.img'")
    site.host.define("elsewhere", f"file='{site.directory.parent}/elsewhere.img'")
    row, = json.loads(site.run("list", "--json", "beside").stdout)
    assert (row["snapshot"], row["vm"], row["vms"], row["complete"]) == (site.snapshot, "g", ["beside", "g"], True)
    assert "beside, g" in site.run("list").stdout
    nothing = site.run("list", "elsewhere")
    assert nothing.returncode == 1 and "no snapshot of a VM or pool elsewhere" in nothing.stderr


def test_in_place_and_back_again(site):
    done = site.restore("--yes")
    assert done.returncode == 0 and "vda: cloned on the array" in done.stdout, done.stderr
    assert site.image.read_bytes() == OLD and site.files() == ["g.img"]
    before = re.search(r"kvmontap-\S+-restore-[0-9a-f]{4}", done.stdout).group()
    assert site.run("restore", "g", "--from", before, "--yes").returncode == 0
    assert site.image.read_bytes() == NEW
    site.host.virsh("start", "g")
    assert site.host.state("g") == "running"


def test_as_a_second_vm(site):
    done = site.restore("--as", "h")
    assert done.returncode == 0, done.stderr
    assert (site.directory / "vms/h.img").read_bytes() == OLD and site.image.read_bytes() == NEW
    assert site.host.state("h") == "shut off"
    xml = site.host.virsh("dumpxml", "h").stdout
    assert site.uuid not in xml and "/kvmnfs01/vms/h.img" in xml and "g.img" not in xml
    site.host.virsh("start", "g")
    site.host.virsh("start", "h")
    again = site.restore("--as", "h")
    assert again.returncode == 1 and "libvirt has a VM h already" in again.stderr


def test_a_running_vm_is_left_alone(site):
    site.host.virsh("start", "g")
    done = site.restore("--yes")
    assert done.returncode == 1 and "it is running; shut it down (virsh shutdown g)" in done.stderr
    assert site.image.read_bytes() == NEW
    site.host.virsh("managedsave", "g")
    done = site.restore("--yes")
    assert done.returncode == 1 and "managedsave-remove g" in done.stderr and site.image.read_bytes() == NEW


def test_an_image_that_somebody_else_has_open(site):
    """As by a VM on another host: only the file server's locks tell."""
    command = ["qemu-io", "-f", "raw", "-c", "read 0 512", "-c", "sleep 60000", str(site.image)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as it:
        wait(lambda: f":{os.stat(site.image).st_ino} " in pathlib.Path("/proc/locks").read_text())
        done = site.restore("--yes")
        it.kill()
    assert done.returncode == 1 and "is in use, here or on another host" in done.stderr and site.image.read_bytes() == NEW


@pytest.mark.parametrize("arguments, says", [
    (("--from", "none"), "holds no snapshot none"), (("--disk", "vdz"), "it has no disk vdz; there are: vda"),
    (("--as", "a/b"), "is no name for a VM"),
])  # fmt: skip
def test_what_cannot_be(site, arguments, says):
    done = site.restore("--yes", *arguments)
    assert done.returncode == 1 and says in done.stderr and site.image.read_bytes() == NEW and site.files() == ["g.img"]


def test_nobody_to_ask(site):
    done = site.restore()
    assert done.returncode == 1 and "say --yes" in done.stderr and site.image.read_bytes() == NEW


def test_where_the_state_of_now_cannot_be_kept_nothing_is_touched(site):
    site.array.faults.add("limit", "POST", "*/snapshots")
    done = site.restore("--yes")
    assert done.returncode == 1 and "the state of now cannot be kept" in done.stderr and "(ONTAP 525062)" in done.stderr
    assert site.image.read_bytes() == NEW and site.files() == ["g.img"]


@pytest.mark.parametrize("code", ["13565952", "917864", "6", "3"])
def test_an_array_that_does_not_clone(site, code):
    site.array.faults.add("error", "POST", "*/file/clone", code=code, message="No clone.")
    done = site.restore("--yes")
    assert done.returncode == 1 and f"No clone. (ONTAP {code})" in done.stderr.replace("clone (", "clone. ("), done.stderr
    assert site.image.read_bytes() == NEW and site.files() == ["g.img"]
    # With the array's snapshot directory in reach it is copied.
    place = site.directory / "vms/.snapshot" / site.snapshot
    place.mkdir(parents=True)
    (place / "g.img").write_bytes(OLD)
    done = site.restore("--yes")
    assert done.returncode == 0 and "it is copied" in done.stderr and site.image.read_bytes() == OLD


def test_a_clone_whose_answer_is_lost_is_taken_away_at_the_next_run(site):
    site.array.faults.add("not-json", "POST", "*/file/clone", count=1)
    assert site.restore("--yes").returncode == 1
    stray = site.directory / "vms" / f".kvmontap-restore-{site.uuid}-00c0ffee"
    stray.write_bytes(b"late")
    done = site.restore("--yes")
    assert done.returncode == 0 and f"removed {stray.name} of an interrupted restore" in done.stderr
    assert site.files() == ["g.img"] and site.image.read_bytes() == OLD


def test_killed_while_the_array_works(site):
    fault = site.array.faults.add("slow", "POST", "*/file/clone", seconds=60, when="after")
    command = site.command("restore", "g", "--from", site.snapshot, "--yes")
    with subprocess.Popen(command, cwd=tree.ROOT, env=site.env, stdout=subprocess.DEVNULL) as it:
        site.array.log.wait_for(1, "POST", "/api/storage/file/clone")
        it.kill()
    site.array.faults.clear(fault.number)
    assert site.image.read_bytes() == NEW
    assert site.restore("--yes").returncode == 0
    assert site.files() == ["g.img"] and site.image.read_bytes() == OLD


