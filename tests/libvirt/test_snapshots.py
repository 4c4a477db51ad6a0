"""What the daemon does with snapshots around real starts: one for several VMs, old ones thinned out behind them."""

import json
import time

from tests.libvirt.kvmhost import wait

DAY = 86400


def plant(array, age):
    when = time.gmtime(time.time() - age)
    name = time.strftime("kvmontap-%Y%m%dT%H%M%SZ-start-0001", when)
    comment = json.dumps({"kvmontap": 1, "uuid": "u", "reason": "start", "host": "kvm02", "vm": "old"})
    created = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", when)
    array.change(volumes={"kvmnfs01": {"snapshots": [{"name": name, "comment": comment, "create_time": created}]}})
    return name


def names(array):
    return {one.name for one in array.volume("kvmnfs01").snapshots.values()}


def test_one_snapshot_for_several_vms_and_old_ones_go(host, array, configure):
    configure(host, mode="warn")
    old, array_own = plant(array, 40 * DAY), "hourly.1"
    array.change(volumes={"kvmnfs01": {"snapshots": [{"name": array_own}]}})
    host.start_daemon()
    for name in ("g1", "g2", "g3"):
        host.define(name, host.image(f"/mnt/kvmnfs01/{name}.img"))
    for name in ("g1", "g2", "g3"):
        host.virsh("start", name)
    wait(lambda: old not in names(array))
    made = names(array) - {array_own}
    assert len(made) == 1 and len(array.log.entries("POST")) == 1
    wait(lambda: "volume kvmnfs01: deleted 1 old snapshot" in host.log())
    assert host.log().count("taken earlier, for images that have not changed since") == 2
    # One that has run, and written, gets its own.
    host.virsh("destroy", "g2")
    with open(host.path("/mnt/kvmnfs01/g2.img"), "r+b") as image:
        image.write(b"written by the guest")
    host.virsh("start", "g2")
    assert len(names(array) - {array_own}) == 2


def test_without_a_daemon_every_start_has_its_own(host, array, configure):
    configure(host, mode="warn")
    for name in ("g1", "g2"):
        host.define(name, host.image(f"/mnt/kvmnfs01/{name}.img"))
        host.virsh("start", name)
    assert len(names(array)) == 2
