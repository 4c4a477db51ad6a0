"""A block pool's snapshot opened on a host that never gets to see the LUN: whatever happens, close() leaves nothing on the array.

The array is real HTTPS; that a real device comes and goes is seen in tests/lab/test_restore.py.
"""

import os
import signal
import time

import pytest

from kvmontap import model
from kvmontap.array import Client
from kvmontap.array.snapshot import Wanted as Snapshot
from kvmontap.array.snapshot import create
from kvmontap.array.state import VolumeRef
from kvmontap.array.stored import stored
from kvmontap.host import cloned, identity
from kvmontap.snapshots import opened
from kvmontap.snapshots.elsewhere import parse_slots
from kvmontap.snapshots.work import Busy, Work, WorkError, names
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import secret, soon

SVM = "svm_kvm"
POOL = model.Pool("kvmiscsi01", "iscsi", target="/mnt/kvmiscsi01", filesystem="ocfs2", ontap="prod",
                  wwid="3600a0980" + b"ABCdef123456".hex())
DESCRIPTION = {
    "svms": [{"name": SVM}],
    "volumes": [{"name": "kvmblk01", "svm": SVM, "path": None}],
    "users": [{"name": "kvmontap", "password": "secret-1"}],
    "luns": [{"name": "lun0", "volume": "kvmblk01", "serial": "ABCdef123456"}],
    "igroups": [{"name": "cluster", "initiators": ["iqn.1993-08.org.debian:01:host1"], "maps": ["lun0"]}],
}


class Site:
    def __init__(self, array, section, state):
        self.array, self.section, self.state = array, section, state
        self.client = Client(section)
        self.volume = VolumeRef(array.volume("kvmblk01").uuid, "kvmblk01", SVM, "")
        create(self.client, self.volume, Snapshot("s1", "{}"), soon())

    def wanted(self):
        return opened.Wanted(Client(self.section), POOL, self.volume, "s1")

    def close(self):
        """As another process does it."""
        said = []
        for name in names(self.state):
            with Work(name, self.state) as work:
                said += opened.close(work, lambda _: self.client)
        return said

    def nothing_left(self):
        assert [one.name for one in self.array.state.volumes.values()] == ["kvmblk01"]
        assert [one.name for one in self.array.state.san.accesses.values()] == ["cluster"]
        assert stored(self.client, self.volume, soon())[0].owners == () and os.listdir(self.state) == []


@pytest.fixture
def site(authority, judge, tmp_path, monkeypatch):
    monkeypatch.setattr(cloned, "APPEARS", 0.5)
    monkeypatch.setattr(cloned, "announce", lambda one: None)  # this machine's own multipath is left alone
    monkeypatch.setattr(opened, "MOUNTS", str(tmp_path / "mounts"))
    monkeypatch.setattr(identity, "read", lambda: identity.Identity("iqn.1993-08.org.debian:01:host1", (), "", "", ()))
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        section = model.Array("prod", array.host, svm=SVM, username="kvmontap", ca=array.ca,
                              password_file=secret(tmp_path / "password", "secret-1"))
        made = Site(array, section, str(tmp_path / "state"))
        yield made
        made.client.close()


def test_a_lun_that_never_comes(site):
    with Work("open-1", site.state) as work:
        with pytest.raises(cloned.DeviceError, match="is not there on this host"):
            opened.opened(work, site.wanted(), lambda line: None)
        value = work.read()
        assert value["wwid"].startswith("3600a0980") and value["wwid"] != POOL.wwid
        said = opened.close(work, lambda _: site.client)
    assert [line.split()[0] for line in said] == ["unmapped", "deleted"]
    site.nothing_left()


def killed(site, number, when):
    """A process that opens, killed while it waits for the answer to its request `number`; whether it got so far."""
    fault = site.array.faults.add("silent", count=1, skip=number, when=when)
    child = os.fork()
    if not child:
        try:
            with Work("open-1", site.state) as work:
                opened.opened(work, site.wanted(), lambda line: None)
        finally:
            os._exit(0)
    until = time.monotonic() + 30
    ended = 0
    while not fault.hits and not ended and time.monotonic() < until:
        ended = os.waitpid(child, os.WNOHANG)[0]
        time.sleep(0.02)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    site.array.faults.clear(fault.number)
    return bool(fault.hits)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_request(site, when, monkeypatch):
    monkeypatch.setattr(opened, "LATE", 0.0)  # what is silent before its work never does it
    for number in range(50):
        if not killed(site, number, when):
            assert number > 5
            break
        site.close()
        site.nothing_left()
    assert number < 49


def test_a_clone_that_may_still_come_is_waited_for(site):
    """The request was sent, nobody answered: the journal stays until it is certain."""
    site.array.faults.add("silent", "POST", "/api/storage/volumes", count=1)
    site.section = site.section._replace(timeout=1.0)
    with Work("open-1", site.state) as work:
        with pytest.raises(opened.ArrayError):
            opened.opened(work, site.wanted(), lambda line: None)
        with pytest.raises(WorkError, match="is not known yet"):
            opened.close(work, lambda _: site.client)
    assert names(site.state) == ("open-1",)


def test_what_somebody_is_at_is_left_alone(site):
    with Work("open-1", site.state) as work:
        work.write({})
        with pytest.raises(Busy):
            with Work("open-1", site.state):
                pass


@pytest.mark.parametrize("more, says", [
    ({"filesystem": "gfs2"}, "cannot be brought back"), ({"wwid": ""}, "neither wwid ="), ({"protocol": "nvme-fc"}, "over NVMe/FC"),
    ({"type": "fs"}, "cannot be brought back"),
])  # fmt: skip
def test_pools_that_cannot_be_opened(more, says):
    assert opened.unfit(POOL) == "" and says in opened.unfit(POOL._replace(**more))


def test_the_slot_map_of_ocfs2():
    head = "Device     Stack  Cluster  F  Nodes\n"
    assert parse_slots(head + "/dev/dm-0  o2cb   kvmcl01     host2, host3\n") == ("host2", "host3")
    assert parse_slots(head + "/dev/dm-0  o2cb   kvmcl01  G  host2\n") == ("host2",)
    assert parse_slots(head + "/dev/dm-0  o2cb   kvmcl01     Not mounted\n") == () == parse_slots(head) == parse_slots("")
