"""Pools that somebody made by hand with virsh, imported from what a real libvirtd keeps and says of them."""

import json

from kvmontap.cli import main
from kvmontap.importing.files import stored_pools
from kvmontap.pools.libvirtd import Libvirt


def test_pools_made_with_virsh_become_sections_and_stay_what_they_are(host, shared, capsys):
    host.put("/etc/kvmontap.conf", "")
    host.put("/etc/fstab", "192.0.2.11:/vms /mnt/vms nfs vers=4.1,hard 0 0\n")
    host.run("mkdir", "-p", "/mnt/vms", "/mnt/isos")
    host.virsh("pool-define-as", "vms", "dir", "--target", "/mnt/vms")
    host.virsh("pool-autostart", "vms")
    host.virsh("pool-define-as", "isos", "netfs", "--source-host", "192.0.2.12", "--source-path", "/isos", "--source-format", "nfs",
               "--target", "/mnt/isos")
    host.virsh("pool-define-as", "scratch", "dir", "--target", "/var/tmp")
    root, uri = str(host.path("/")).rstrip("/"), f"qemu+unix:///system?socket={shared}/{host.name}/libvirt-sock"
    # Offline, its files are read: they tell the same pools as libvirtd itself.
    with Libvirt(uri) as connection:
        told = connection.pools()
    assert {pool.name: pool.autostart for pool in stored_pools(root)} == {name: state.autostart for name, state in told.items()}
    assert main(["import", "libvirt", "--root", root, "--config", "/etc/kvmontap.conf", "--write"]) == 1
    out, err = capsys.readouterr()
    assert "2 pools added: isos, vms" in out and "comment out line 1 of /etc/fstab" in out
    assert "left: libvirt: pool scratch: is the directory /var/tmp" in err
    # What libvirt has is what the file now says: the dir pool as it is, the netfs pool but for what its note told.
    conf = str(host.path("/etc/kvmontap.conf"))
    main(["pool", "list", "--config", conf, "--connect", uri, "--json"])
    rows = {row["pool"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["vms"]["autostart"] is True and rows["isos"]["autostart"] is False
    assert "another" not in rows["vms"]["remark"] and "mount options" in rows["isos"]["remark"]
    # What doctor and graph make of a VM as this libvirt describes it.
    host.define("web1", host.image("/mnt/vms/web1.img"))
    main(["doctor", "--config", conf, "--connect", uri, "--json"])
    told = [one for one in json.loads(capsys.readouterr().out)["advice"] if one["side"] == "libvirt"]
    assert [(one["check"], one["pools"]) for one in told] == [("vm.cache", ["vms"])] and "the default" in told[0]["text"]
    assert main(["graph", "--config", conf, "--connect", uri]) == 0
    assert '"0:vm web1" -> "0:pool vms"' in capsys.readouterr().out
