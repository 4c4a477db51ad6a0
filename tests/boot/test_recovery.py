"""kvmontapd in its sandbox brings back what failed at boot, through a real systemd and libvirt, and leaves alone what was stopped."""

import re
import subprocess

from tests.boot.machine import wait
from tests.boot.test_pools import ADAPTER, loop, pools

CONF = """
[pools]
[[away01]]
protocol = fc
device = /dev/away01
filesystem = ext4
target = /mnt/away01
[boot]
timeout = 5
"""
MOUNT = "mnt-away01.mount"
HOOK = "/etc/libvirt/hooks/storage.d/50-kvmontap"


def told(host, text):
    return [entry for entry in host.journal("-b", "-u", "kvmontapd") if text in str(entry.get("MESSAGE"))]


def test_a_mount_that_failed_is_tried_again_and_its_pool_started(host, tmp_path):
    host.write("/etc/kvmontap.conf", CONF)
    host.write("/etc/systemd/system/kvmontap-fc@.service.d/adapter.conf", ADAPTER)
    device = loop(tmp_path / "spare01")
    host.binds = [f"--bind={device}:/dev/spare01"]
    try:
        host.start()
        assert host.state(MOUNT) != "active" and host.state("kvmontapd.service") == "active"
        assert host.output("stat", "-c", "%F %a", HOOK) == "regular file 755"
        # libvirt starts a directory pool on an empty directory; the hook has the daemon stop it, whoever started it.
        wait(lambda: pools(host) == {"away01": ("inactive", "yes")}, 60)
        host.run("virsh", "pool-start", "away01")
        wait(lambda: pools(host) == {"away01": ("inactive", "yes")}, 60, lambda: str(told(host, "")))
        (stopped,) = told(host, "libvirt's pool away01 is stopped")[-1:]
        assert stopped["KVMONTAP_POOL"] == "away01" and len(stopped["MESSAGE_ID"]) == 32

        # The device is there. Nobody types anything.
        host.run("cp", "-a", "/dev/spare01", "/dev/away01")
        wait(lambda: host.state(MOUNT) == "active", 180, lambda: str(told(host, "")))
        wait(lambda: pools(host) == {"away01": ("active", "yes")}, 60, lambda: str(told(host, "")))
        assert told(host, f"pool away01: {MOUNT} is started again") and told(host, "pool away01 is started in libvirt")
        explained = host.output("journalctl", "-b", "-x", "-u", "kvmontapd", "KVMONTAP_UNIT=" + MOUNT)
        assert "not one that somebody has stopped" in explained

        status = host.path(f"/proc/{host.show('kvmontapd.service', 'MainPID')['MainPID']}/status").read_text()
        assert int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) < 60 * 1024  # connected to libvirt

        # What an administrator stops stays so, and its directory takes no files.
        guarded = len(host.journal("-b", "_PID=1", "UNIT=kvmontap-mountpoints.service", "JOB_TYPE=reload", "JOB_RESULT=done"))
        tries = len(told(host, "is started again"))
        host.run("systemctl", "stop", MOUNT)
        wait(lambda: len(host.journal("-b", "_PID=1", "UNIT=kvmontap-mountpoints.service", "JOB_TYPE=reload", "JOB_RESULT=done")) > guarded,
             60, lambda: str(told(host, "")))  # fmt: skip
        host.run("systemctl", "kill", "--signal=KILL", "kvmontapd.service")
        wait(lambda: len(told(host, "is not mounted")) >= 3 and host.state("kvmontapd.service") == "active", 60)
        assert host.state(MOUNT) == "inactive" and len(told(host, "is started again")) == tries
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
