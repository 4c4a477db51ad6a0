"""One boot and one shutdown of a configured host: what runs before what, and what a failure costs."""

import pytest

from tests.boot.machine import DEAD, wait

LIBVIRT = ("libvirtd.service", "libvirt-guests.service")

SOUND = """
[pools]
[[nfs01]]
protocol = nfs
server = 192.0.2.1
export = /nfs01
[[smb01]]
protocol = smb
server = 192.0.2.1
share = smb01
credentials = /etc/kvmontap/smb
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
"""
DEAD_POOL = f"""
[[dead01]]
protocol = nfs
server = {DEAD}
export = /dead01
"""
BROKEN_POOL = """
[[broken-01]]
protocol = nfs
server = 192.0.2.1
export = /broken01
nconect = 4
version = 5
"""
CREDENTIALS = "username=u\npassword=p\n"


def configure(host, *parts):
    host.write("/etc/kvmontap.conf", "".join(parts))
    host.write("/etc/kvmontap/smb", CREDENTIALS, 0o600)


def active_since(host, unit):
    """Microseconds after the boot at which the unit was up."""
    return int(host.show(unit, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"])


def begun(host, unit):
    """Microseconds after the boot at which the unit's start began."""
    return int(host.show(unit, "InactiveExitTimestampMonotonic")["InactiveExitTimestampMonotonic"])


def test_storage_is_up_before_libvirt_and_down_after_it(host):
    configure(host, SOUND)
    host.start()
    assert host.failed() == []
    assert host.mounted("/mnt/nfs01") == "192.0.2.1:/nfs01"
    assert host.mounted("/mnt/smb01") == "//192.0.2.1/smb01"
    assert "/mnt/auto01 autofs" in host.output("findmnt", "-rn", "-o", "TARGET,FSTYPE")
    assert host.mounted("/mnt/byhand01") == ""
    assert 0 < active_since(host, "kvmontap-mountpoints.service") <= begun(host, "mnt-nfs01.mount")
    for unit in ("mnt-nfs01.mount", "mnt-smb01.mount", "mnt-auto01.automount"):
        assert host.show(unit, "FragmentPath")["FragmentPath"].startswith("/run/systemd/generator/")
        for libvirt in LIBVIRT:
            assert 0 < active_since(host, unit) <= begun(host, libvirt), (unit, libvirt)

    assert host.output("ls", "-A", "/mnt/auto01") == ""
    assert host.mounted("/mnt/auto01") == "192.0.2.1:/auto01"
    host.run("systemctl", "start", "mnt-byhand01.mount")

    host.power_off()
    stops = host.stops()
    order = [unit for unit, message in stops if message.startswith(("Stopped", "Unmounted", "Unset"))]
    assert order.index("libvirt-guests.service") < order.index("libvirtd.service")
    for unit in ("mnt-nfs01.mount", "mnt-smb01.mount", "mnt-auto01.mount", "mnt-byhand01.mount"):
        assert order.index("libvirtd.service") < order.index(unit), order
    assert not [message for _, message in stops if "Failed" in message]


def test_a_dead_pool_and_a_broken_section_cost_nothing_but_themselves(host):
    configure(host, SOUND, DEAD_POOL, BROKEN_POOL)
    host.start()
    assert sorted(host.failed()) == ["kvmontap-config-error@broken\\x2d01.service", "mnt-dead01.mount"]
    assert host.mounted("/mnt/nfs01") and host.mounted("/mnt/smb01")
    # Nothing can be written where the dead pool belongs, by root neither.
    assert "i" in host.output("lsattr", "-d", "/mnt/dead01").split()[0]
    assert "not permitted" in host.run("touch", "/mnt/dead01/volume", check=False).stderr
    for unit in ("remote-fs.target", "multi-user.target", *LIBVIRT):
        assert host.state(unit) == "active", unit
    begin = begun(host, "libvirtd.service")
    failed = int(host.show("mnt-dead01.mount", "InactiveEnterTimestampMonotonic")["InactiveEnterTimestampMonotonic"])
    assert 0 < failed <= begin
    said = "\n".join(str(entry["MESSAGE"]) for entry in host.journal("-u", "kvmontap-config-error@broken\\x2d01.service"))
    for part in ("/etc/kvmontap.conf:", "broken-01", "nconect", "nconnect", "version"):
        assert part in said, said


def test_without_a_configuration_nothing_happens(host):
    host.start()
    assert host.failed() == []
    assert "/mnt" not in host.output("findmnt", "-rn", "-o", "TARGET")
    assert host.state("libvirtd.service") == "active"
    assert host.state("kvmontap-pools.service") == "inactive"


@pytest.mark.parametrize("broken", (SOUND.replace("export = /nfs01", "export = nfs01"), SOUND.replace("[pools]", "[pools"), "\x00\xff"))
def test_a_reload_with_a_broken_file_detaches_nothing(host, broken):
    configure(host, SOUND)
    host.start()
    wait(lambda: host.path("/run/kvmontap/applied.conf").exists(), 10)
    host.run("touch", "/mnt/nfs01/image")
    host.write("/etc/kvmontap.conf", broken)
    host.run("systemctl", "daemon-reload")
    shown = host.show("mnt-nfs01.mount", "ActiveState", "FragmentPath", "Before")
    assert shown["ActiveState"] == "active" and shown["FragmentPath"] == "/run/systemd/generator/mnt-nfs01.mount"
    assert "libvirt-guests.service" in shown["Before"]
    assert host.output("ls", "/mnt/nfs01") == "image"

    configure(host, SOUND)
    host.run("systemctl", "daemon-reload")
    assert host.state("mnt-nfs01.mount") == "active"
    assert host.output("ls", "/mnt/nfs01") == "image"
    host.power_off()
    order = [unit for unit, message in host.stops() if message.startswith(("Stopped", "Unmounted"))]
    assert order.index("libvirt-guests.service") < order.index("libvirtd.service") < order.index("mnt-nfs01.mount")
