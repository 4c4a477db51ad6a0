"""`kvmontap snapshot restore` with a real libvirtd: the array's snapshots are copies of the pool's directory.

The command runs on this machine and libvirtd in its namespaces; both see the pool at the same path.
"""

import json
import os
import pathlib
import re
import signal
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

    def plain(self, *arguments):
        """Another command than those of `snapshot`."""
        done = subprocess.run([sys.executable, "-m", "kvmontap", *arguments, "--connect", self.uri], cwd=tree.ROOT, env=self.env,
                              capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout and "KVMONTAP_DEBUG" not in done.stderr, done.stderr
        return done

    def snapshots(self):
        return [one.name for one in self.array.volume("kvmnfs01").snapshots.values()]

    def restore(self, *arguments):
        return self.run("restore", "g", "--from", self.snapshot, *arguments)

    def left(self):
        """Journals."""
        state = pathlib.Path(self.env["KVMONTAP_STATE"])
        return sorted(os.listdir(state)) if state.exists() else []

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


def test_what_cannot_be_and_nobody_to_ask(site):
    for arguments, says in ((("--from", "none"), "holds no snapshot none"), (("--disk", "vdz"), "it has no disk vdz; there are: vda"),
                            (("--as", "a/b"), "is no name for a VM")):  # fmt: skip
        done = site.restore("--yes", *arguments)
        assert done.returncode == 1 and says in done.stderr and site.image.read_bytes() == NEW and site.files() == ["g.img"]
    done = site.restore()
    assert done.returncode == 1 and "say --yes" in done.stderr and site.image.read_bytes() == NEW and not site.left()


def test_where_the_state_of_now_cannot_be_kept_nothing_is_touched(site):
    site.array.faults.add("limit", "POST", "*/snapshots")
    done = site.restore("--yes")
    assert done.returncode == 1 and "the state of now cannot be kept" in done.stderr and "(ONTAP 525062)" in done.stderr
    assert site.image.read_bytes() == NEW and site.files() == ["g.img"]


def test_an_array_that_does_not_clone(site):
    place = site.directory / "vms/.snapshot" / site.snapshot
    for code in ("13565952", "917864", "6", "3"):
        fault = site.array.faults.add("error", "POST", "*/file/clone", code=code, message="No clone.")
        done = site.restore("--yes")
        assert done.returncode == 1 and f"No clone. (ONTAP {code})" in done.stderr.replace("clone (", "clone. ("), done.stderr
        assert site.image.read_bytes() == NEW and site.files() == ["g.img"] and not site.left()
        site.array.faults.clear(fault.number)
    site.array.faults.add("error", "POST", "*/file/clone", code="3", message="API not found")
    # With the array's snapshot directory in reach it is copied.
    place.mkdir(parents=True)
    (place / "g.img").write_bytes(OLD)
    done = site.restore("--yes")
    assert done.returncode == 0 and "it is copied" in done.stderr and site.image.read_bytes() == OLD and not site.left()


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




def test_interrupted_it_says_so_and_leaves_the_disks_alone(site):
    fault = site.array.faults.add("silent", "POST", "*/file/clone")
    command = site.command("restore", "g", "--from", site.snapshot, "--yes")
    with subprocess.Popen(command, cwd=tree.ROOT, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as it:
        wait(lambda: fault.hits, 60)
        it.send_signal(signal.SIGINT)
        said = it.communicate(timeout=60)[1]
    assert it.returncode == 1 and "interrupted" in said and "kvmontap tidy" in said and "Traceback" not in said, said
    assert site.image.read_bytes() == NEW and site.files() == ["g.img"]
    assert site.plain("tidy").returncode == 0 and not site.left()


# -- clone


def test_clones_of_a_vm_that_is_off_of_one_that_runs_and_of_a_snapshot(site):
    done = site.plain("clone", "g", "c", "--count", "2")
    assert done.returncode == 0, done.stderr
    assert site.files() == ["c-1.img", "c-2.img", "g.img"] and (site.directory / "vms/c-2.img").read_bytes() == NEW
    assert len(site.snapshots()) == 1, "a VM that is off needs no snapshot"
    identities = {site.host.virsh("domuuid", name).stdout.strip() for name in ("g", "c-1", "c-2")}
    assert len(identities) == 3 and site.host.state("c-1") == "shut off"
    site.host.virsh("start", "g")
    done = site.plain("clone", "g", "d")
    assert done.returncode == 0, done.stderr
    assert (site.directory / "vms/d.img").read_bytes() == NEW and len(site.snapshots()) == 1, "its snapshot is gone again"
    assert site.host.state("g") == "running"
    assert site.plain("clone", "g", "e", "--from", site.snapshot).returncode == 0
    assert (site.directory / "vms/e.img").read_bytes() == OLD
    site.host.virsh("start", "c-1")
    again = site.plain("clone", "g", "c", "--count", "2")
    assert again.returncode == 1 and "libvirt has a VM c-1 already" in again.stderr


def test_a_clone_that_fails_halfway_leaves_nothing(site):
    site.array.faults.add("error", "POST", "*/file/clone", code="13565952", message="No clone.")
    place = site.directory / "vms/.snapshot" / site.snapshot
    place.mkdir(parents=True)
    done = site.plain("clone", "g", "c", "--from", site.snapshot, "--count", "3")
    assert done.returncode == 1 and "(ONTAP 13565952)" in done.stderr
    assert [name for name in site.files() if name != ".snapshot"] == ["g.img"] and not site.left()


# -- killed at every request


def requests_of(site, command):
    """How many requests the command sends when nothing disturbs it."""
    before = len(site.array.log.entries())
    done = subprocess.run(command, cwd=tree.ROOT, env=site.env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return len(site.array.log.entries()) - before


def test_killed_at_every_request(site):
    """SIGKILL while the array is at the first, second, ... request, before and after its work; then tidy.  A or B, never neither."""
    command = site.command("restore", "g", "--from", site.snapshot, "--yes")
    count = requests_of(site, command)
    assert count >= 6 and site.image.read_bytes() == OLD
    for number in range(count):
        site.image.write_bytes(NEW)
        killed_at(site, command, number, "after" if number % 2 else "before")
        assert site.plain("tidy").returncode == 0
        assert site.files() == ["g.img"] and site.image.read_bytes() in (OLD, NEW) and not site.left()


def killed_at(site, command, number, when):
    """Kills the command while it waits for the answer to its request `number`, counted from 0, `when` the array's work is done or not."""
    fault = site.array.faults.add("silent", count=1, skip=number, when=when)
    with subprocess.Popen(command, cwd=tree.ROOT, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        wait(lambda: fault.hits or it.poll() is not None, 60)
        it.kill()
    site.array.faults.clear(fault.number)
    assert fault.hits == 1


# -- revert


def revert(site, *more):
    return site.run("revert", "kvmnfs01", "--to", site.snapshot, *more)


def test_a_revert_takes_the_pool_back_and_says_what_is_gone(site):
    other = site.directory / "vms/other.img"
    other.write_bytes(NEW)
    assert site.run("create", "g").returncode == 0
    done = revert(site, "--yes")
    assert done.returncode == 0 and "1 newer snapshots are gone" in done.stdout, done.stderr
    assert site.image.read_bytes() == OLD and not other.exists() and site.snapshots() == [site.snapshot] and not site.left()


def test_a_revert_is_refused_while_anybody_uses_the_pool(site):
    assert "say --yes" in revert(site).stderr
    site.host.virsh("start", "g")
    assert "VM g on pool kvmnfs01 is running" in revert(site, "--yes").stderr
    site.host.virsh("managedsave", "g")
    assert "managedsave-remove g" in revert(site, "--yes").stderr
    site.host.virsh("managedsave-remove", "g")
    site.array.state.nfs_clients.append({"client_ip": "192.0.2.77", "volume": "kvmnfs01"})
    done = revert(site, "--yes")
    assert done.returncode == 1 and "other hosts use volume kvmnfs01: NFS client 192.0.2.77" in done.stderr
    assert site.image.read_bytes() == NEW and not site.left()


REFUSALS = (
    ({"owners": ["snapmirror"]}, "(ONTAP 1638480); what to do: SnapMirror or SnapVault needs a newer snapshot"),
    ({"owners": ["volume clone"]}, "(ONTAP 524511); what to do: a newer snapshot is in use"),
    ({"snaplock_expiry_time": "2126-01-01T00:00:00+00:00"}, "(ONTAP 9437886); what to do: newer snapshots are locked"),
)


def test_what_the_array_refuses_is_explained(site):
    for more, says in REFUSALS:
        site.array.change(volumes={"kvmnfs01": {"snapshots": [{"name": "newer", **more}]}})
        done = revert(site, "--yes")
        assert done.returncode == 1 and says in done.stderr and site.image.read_bytes() == NEW and not site.left()
        site.array.volume("kvmnfs01").snapshots.popitem()


def test_a_revert_killed_at_every_request(site):
    command = site.command("revert", "kvmnfs01", "--to", site.snapshot, "--yes")
    count = requests_of(site, command)
    for number in range(count):
        site.image.write_bytes(NEW)
        killed_at(site, command, number, "before" if number % 2 else "after")
        assert site.plain("tidy").returncode == 0 and not site.left() and site.image.read_bytes() in (OLD, NEW)
