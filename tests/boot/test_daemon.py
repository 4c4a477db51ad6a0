"""kvmontapd in its sandbox under a real systemd: it sees what is mounted later, triggers automounts, runs qemu-img, keeps no mount busy."""

import time

import pytest

from tests.boot.machine import wait

CONF = """
[pools]
[[auto01]]
protocol = nfs
server = 192.0.2.1
export = /auto01
[[[boot]]]
mount = automount
[[byhand01]]
protocol = nfs
server = 192.0.2.1
export = /byhand01
[[[boot]]]
mount = manual
[gate]
min-free = 0%
[snapshots]
before = none
[metrics]
textfile-directory = /var/lib/metrics
"""
XML = """<domain><name>{name}</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab</uuid><devices><disk type='file' device='disk'>
<driver name='qemu' type='{form}'/><source file='{path}'/><target dev='vda'/></disk></devices></domain>"""


@pytest.fixture
def running(host):
    """The host, booted, with kvmontapd started by its socket before anything is mounted."""
    host.write("/etc/kvmontap.conf", CONF)
    host.write("/var/lib/metrics/others.prom", "")
    host.start()
    # A mount starts it too.
    host.run("systemctl", "stop", "kvmontapd.service")  # first: a question of its under way keeps a mount busy
    host.run("systemctl", "stop", "mnt-auto01.mount")
    assert host.state("kvmontapd.service") == "inactive"
    assert ask(host, "/var/lib/libvirt/images/none.img") == (0, "")
    assert host.state("kvmontapd.service") == "active"
    return host


def ask(host, path, form="raw", name="vm1"):
    """(exit status, stderr) of the hook as libvirt runs it."""
    done = host.run("/etc/libvirt/hooks/qemu.d/50-kvmontap", name, "prepare", "begin", "-", check=False,
                    stdin=XML.format(name=name, path=path, form=form))  # fmt: skip
    assert done.stdout == ""
    return done.returncode, done.stderr


def daemon(host):
    return host.show("kvmontapd.service", "MainPID")["MainPID"]


def seen_by_the_daemon(host, place):
    return f" {place} " in host.path(f"/proc/{daemon(host)}/mountinfo").read_text()


def test_a_mount_of_later_is_seen_and_can_be_unmounted(running):
    status, said = ask(running, "/mnt/byhand01/a.img")
    assert status == 1 and "/mnt/byhand01 is not mounted" in said and "systemctl start mnt-byhand01.mount" in said
    running.run("systemctl", "start", "mnt-byhand01.mount")
    # The stand-in for NFS is a tmpfs, and told as one: so the daemon has looked at what came later.
    assert "/mnt/byhand01 holds a tmpfs file system instead of nfs" in ask(running, "/mnt/byhand01/a.img")[1]
    assert "read-only" not in ask(running, "/mnt/byhand01/a.img")[1]
    assert seen_by_the_daemon(running, "/mnt/byhand01")
    running.run("systemctl", "stop", "mnt-byhand01.mount")
    assert running.mounted("/mnt/byhand01") == "" and not seen_by_the_daemon(running, "/mnt/byhand01")
    assert "is not mounted" in ask(running, "/mnt/byhand01/a.img")[1]


def test_the_metrics_are_written_from_the_sandbox_and_readable(running):
    path = running.path("/var/lib/metrics/kvmontap.prom")
    wait(lambda: path.exists() and 'kvmontap_pool_finding{pool="byhand01",code="mount.missing"' in path.read_text(), 30)
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(one.name for one in path.parent.iterdir()) == ["kvmontap.prom", "others.prom"]


def test_an_automount_is_triggered(running):
    # libvirt's pool has triggered it at boot.
    running.run("systemctl", "stop", "mnt-auto01.mount")
    assert (running.state("mnt-auto01.mount"), running.state("mnt-auto01.automount")) == ("inactive", "active")
    assert "/mnt/auto01 holds a tmpfs file system instead of nfs" in ask(running, "/mnt/auto01/a.img")[1]
    assert running.state("mnt-auto01.mount") == "active"


def test_qemu_img_runs_in_the_sandbox(running):
    """The overlay lies on the host's own disk and belongs to nobody but qemu; what lies beneath it is in a pool."""
    overlay = "/var/lib/libvirt/images/top.qcow2"
    running.run("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/mnt/byhand01/base.img", "-F", "raw", overlay, "1M")
    running.run("chown", "libvirt-qemu", overlay)
    running.run("chmod", "600", overlay)
    status, said = ask(running, overlay, "qcow2")
    assert status == 1 and "pool byhand01 (backing of disk vda): /mnt/byhand01 is not mounted" in said


def test_the_journal_has_the_fields(running):
    ask(running, "/mnt/byhand01/a.img", name="vm7")
    (entry,) = running.journal("-u", "kvmontapd", "KVMONTAP_CODE=mount.missing", "KVMONTAP_DOMAIN=vm7")
    assert entry["KVMONTAP_POOL"] == "byhand01" and entry["PRIORITY"] == "3" and len(entry["MESSAGE_ID"]) == 32
    assert entry["MESSAGE"].startswith("kvmontap refuses to start VM vm7: pool byhand01 (disk vda): ")


def test_reload_kill_and_stop(running):
    first = daemon(running)
    running.run("systemctl", "reload", "kvmontapd.service")
    assert daemon(running) == first
    assert running.show("kvmontapd.service", "StatusText")["StatusText"].endswith("2 pools")
    running.run("kill", "-KILL", first)
    # Before it is back the hook does the work itself.
    assert ask(running, "/mnt/byhand01/a.img")[0] == 1
    wait(lambda: daemon(running) not in (first, "0"), 30)
    running.run("systemctl", "stop", "kvmontapd.service")
    assert running.show("kvmontapd.service", "Result")["Result"] == "success"
    # The socket brings it back.
    assert ask(running, "/mnt/byhand01/a.img")[0] == 1 and daemon(running) != "0"


def test_it_does_not_delay_a_shutdown(running):
    running.run("systemctl", "start", "mnt-byhand01.mount")
    ask(running, "/mnt/byhand01/a.img")
    begin = time.monotonic()
    running.power_off()
    took = time.monotonic() - begin
    stops = running.stops()
    order = [unit for unit, message in stops if message.startswith(("Stopped", "Unmounted"))]
    assert order.index("libvirtd.service") < order.index("kvmontapd.service")
    assert "mnt-byhand01.mount" in order and not [message for _, message in stops if "Failed" in message]
    assert took < 30
