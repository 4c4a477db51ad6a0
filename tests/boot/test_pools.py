"""kvmontap-pools.service and `kvmontap pool` against the libvirt of each suite.

The storage that is "there" is a block pool's file system on a loop device: what the kernel here can mount for an NFS pool is
no NFS, which is seen (and is one of the tests).  Nothing here is a Fibre Channel adapter, so the unit that looks for one says yes.
"""

import json
import subprocess

import pytest

from tests.boot.machine import wait

CONF = """
[pools]
[[here01]]
protocol = fc
device = /dev/here01
filesystem = ext4
target = /mnt/here01
[[away01]]
protocol = fc
device = /dev/away01
filesystem = ext4
target = /mnt/away01
[[still01]]
protocol = fc
device = /dev/still01
filesystem = ext4
target = /mnt/still01
autostart = no
[[net01]]
protocol = nfs
type = netfs
server = 192.0.2.1
export = /net01
version = 4.2
nconnect = 4
target = /mnt/net01
"""
POOLS = "kvmontap-pools.service"
TOLD = """[Service]
ExecStopPost=/bin/sh -c 'python3 -c "from kvmontap.attach import lost; print(lost.stopping())" > /root/told'
"""
ADAPTER = "[Service]\nExecStart=\nExecStart=/bin/true\n"


@pytest.fixture()
def configured(host, tmp_path):
    host.write("/etc/kvmontap.conf", CONF)
    host.write("/etc/systemd/system/kvmontap-fc@.service.d/adapter.conf", ADAPTER)
    devices = [loop(tmp_path / name) for name in ("here01", "still01", "spare01")]
    host.binds = [f"--bind={device}:/dev/{name}" for device, name in zip(devices, ("here01", "still01", "spare01"))]
    try:
        host.start()
        yield host
    finally:
        for device in devices:  # one that is mounted goes with its mount
            subprocess.run(["losetup", "-d", device], check=True)


def loop(image):
    """A loop device that carries ext4."""
    image.touch()
    subprocess.run(["truncate", "-s", "16M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    return subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()


def pools(host):
    """{name: (state, autostart)} as virsh sees them."""
    lines = host.output("virsh", "-q", "pool-list", "--all").splitlines()
    return {name: (state, auto) for name, state, auto in (line.split() for line in lines)}


def definitions(host):
    """{file: text} of what libvirt keeps about its pools."""
    directory = host.path("/etc/libvirt/storage")
    return {path.name: path.read_text() for path in directory.glob("*.xml")}


def said(host, *arguments):
    host.run("journalctl", "--sync")
    return [entry["MESSAGE"] for entry in host.journal("-u", POOLS, "_COMM=python3", *arguments)]


def test_pools_are_defined_started_and_autostarted_where_their_storage_is(configured):
    assert pools(configured) == {
        "here01": ("active", "yes"), "away01": ("inactive", "yes"), "still01": ("inactive", "no"), "net01": ("active", "yes"),
    }  # fmt: skip
    assert configured.show(POOLS, "ActiveState", "Result") == {"ActiveState": "active", "Result": "success"}
    warnings = said(configured, "-p", "warning")
    assert warnings == ["pool away01: /mnt/away01 is not mounted, so the pool is not started; systemctl start mnt-away01.mount; "
                        "then run: kvmontap pool apply"]
    # libvirt itself mounts a netfs pool.
    assert configured.mounted("/mnt/net01") == "192.0.2.1:/net01"


def test_the_next_boot_changes_nothing_and_stops_what_started_on_an_empty_directory(configured):
    configured.run("virsh", "pool-start", "away01")  # as libvirt's own autostart does after a failed mount
    before = definitions(configured)
    configured.write("/etc/systemd/system/kvmontap-shutdown.service.d/told.conf", TOLD)
    configured.run("systemctl", "daemon-reload")
    configured.power_off()
    order = [unit for unit, message in configured.stops() if message.startswith(("Stopped", "Unmounted"))]
    assert order.index("libvirtd.service") < order.index("kvmontap-shutdown.service") < order.index("mnt-here01.mount"), order
    assert configured.path("/root/told").read_text() == "True\n", "storage may be given up then, and only then"
    configured.start()
    assert definitions(configured) == before
    assert pools(configured)["away01"] == ("inactive", "yes")
    assert pools(configured)["here01"] == ("active", "yes")
    assert any("pool away01: is stopped" in line for line in said(configured, "-b"))

    configured.run("systemctl", "restart", "libvirtd")
    # libvirt has started it again by the time it answers, and our service, which is restarted with libvirt, stops it again.
    wait(lambda: pools(configured)["away01"] == ("inactive", "yes"), 30)


def test_a_pool_changed_by_hand_is_shown_and_left_alone(configured):
    configured.run("virsh", "pool-destroy", "net01")
    for name, change in (("here01", ("/mnt/here01", "/srv/other")), ("net01", ("4.2", "3"))):
        changed = configured.output("virsh", "pool-dumpxml", "--inactive", name).replace(*change)
        configured.write("/root/pool.xml", changed)
        configured.run("virsh", "pool-define", "/root/pool.xml")
    configured.run("virsh", "pool-autostart", "--disable", "away01")
    done = configured.run("systemctl", "restart", POOLS, check=False)
    assert done.returncode != 0
    lines = "\n".join(said(configured, "-p", "warning"))
    assert "pool here01: libvirt's pool is another, and is left as it is: target path is /srv/other instead of /mnt/here01" in lines
    assert "pool net01: libvirt's pool is another, and is left as it is: protocol version is 3 instead of 4.2" in lines
    assert "pool away01: the configuration says autostart = yes, in libvirt it is off and is left so" in lines
    assert "/srv/other" in configured.output("virsh", "pool-dumpxml", "--inactive", "here01")
    assert pools(configured)["away01"] == ("inactive", "no") and pools(configured)["net01"] == ("inactive", "yes")


def test_pool_list_and_apply_by_hand(configured):
    rows = {row["pool"]: row for row in json.loads(configured.run("kvmontap", "pool", "list", "--json", check=False).stdout)}
    assert rows["here01"]["state"] == "active" and not rows["here01"]["remark"]
    assert "is not mounted" in rows["away01"]["remark"]
    configured.run("cp", "-a", "/dev/spare01", "/dev/away01")
    configured.run("systemctl", "start", "mnt-away01.mount")
    # The units are those that the running systemd has; what differs is what apply then mends, and a pool that is to be off.
    told = json.loads(configured.run("kvmontap", "plan", "--diff", "--json", check=False).stdout)
    assert [(one["kind"], one["name"], one["text"]) for one in told["differences"]] == [("pool", "away01", "would be started")]
    configured.run("kvmontap", "pool", "apply")
    assert pools(configured)["away01"] == ("active", "yes")
    assert configured.output("kvmontap", "plan", "--diff") == "nothing differs"


def test_a_pool_taken_out_of_the_file_goes_at_the_next_apply(configured):
    without = CONF.replace(CONF[CONF.index("[[here01]]"):CONF.index("[[away01]]")], "")
    configured.write("/etc/kvmontap.conf", without)
    configured.run("systemctl", "daemon-reload")
    configured.run("systemctl", "start", "kvmontap-applied.service")  # as any other mount does
    mounts = ("kvmontap-fc@here01.service", "mnt-here01.mount")
    assert [configured.show(unit, "ActiveState")["ActiveState"] for unit in mounts] == ["active", "active"]
    assert configured.mounted("/mnt/here01") and pools(configured)["here01"] == ("active", "yes")

    configured.run("systemd-run", "--unit=holder", "--property=WorkingDirectory=/mnt/here01", "sleep", "1000")
    done = configured.run("kvmontap", "pool", "apply", check=False)
    assert done.returncode == 1 and "but stays, since /mnt/here01 is in use by sleep (process " in done.stderr
    assert configured.mounted("/mnt/here01") and pools(configured)["here01"] == ("active", "yes")

    configured.run("systemctl", "stop", "holder")
    done = configured.run("kvmontap", "pool", "apply", check=False)
    assert [line for line in done.stdout.splitlines() if "here01" in line] == [
        "pool here01: is gone from libvirt", "pool here01: /mnt/here01 is unmounted", "pool here01: its device is detached"]
    assert not configured.mounted("/mnt/here01") and "here01" not in pools(configured)
    assert [configured.show(unit, "ActiveState")["ActiveState"] for unit in mounts] == ["inactive", "inactive"]
    assert "here01" not in configured.run("kvmontap", "pool", "apply", check=False).stdout


def test_a_mount_of_the_wrong_kind_is_not_the_pools_storage(host):
    host.write("/etc/kvmontap.conf", "[pools]\n[[nfs01]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /nfs01\n")
    host.start()
    assert host.mounted("/mnt/nfs01") == "192.0.2.1:/nfs01"
    assert pools(host) == {"nfs01": ("inactive", "yes")}
    assert "holds a tmpfs file system instead of nfs" in wait(lambda: said(host, "-p", "warning"), 60)[0]


def test_without_libvirt_the_reason_is_one_sentence(configured):
    configured.run("systemctl", "mask", "--now", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "libvirtd.service")
    done = configured.run("kvmontap", "pool", "apply", check=False)
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "libvirt does not answer at qemu:///system" in done.stderr
