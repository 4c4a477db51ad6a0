"""Units that are started again: when, how often, and what is told; systemd is stood in for by a table of states."""

import pytest

from kvmontap.gate.configured import Configured
from kvmontap.model import DEGRADED, FAILED, Config, Finding, Pool
from kvmontap.reasons import worst
from kvmontap.recovery import storage
from kvmontap.recovery.decide import Unit
from kvmontap.recovery.manager import ManagerError, parse
from kvmontap.recovery.reachable import places

NFS = Pool("p1", "nfs", "/mnt/p1", server=("192.0.2.1", "nas"), export="/p1")
FOUND = Configured(Config({}, {"p1": NFS}, {}))
MOUNT = "mnt-p1.mount"
AWAY = {"p1": worst("p1", [Finding("mount.missing", FAILED, "")])}
WELL = {"p1": worst("p1", [])}


class World:
    """A clock, systemd and the network."""

    def __init__(self):
        self.now, self.acts, self.told, self.there, self.error = 1000.0, [], [], True, None
        self.states_of = {MOUNT: Unit("failed", False)}
        self.storage = storage.Storage(self, lambda pool: self.there, self.told.append, lambda: self.now)

    def states(self, units):
        if self.error:
            raise ManagerError(self.error)
        return {unit: self.states_of[unit] for unit in units}

    def act(self, verb, unit):
        self.acts.append((round(self.now - 1000), verb, unit))

    def run(self, healths, seconds):
        """The keeper: looks when it is due, at the latest after a minute."""
        end = self.now + seconds
        while self.now < end:
            due = self.storage.use(FOUND, healths, set())
            assert due is None or due >= 0
            self.now += max(5.0, min(60.0, due if due is not None else 60.0))


@pytest.fixture
def world():
    return World()


def test_a_failed_mount_is_started_ever_less_often(world):
    world.run(AWAY, 600)
    assert [when for when, _, _ in world.acts] == [0, 10, 30, 70, 150, 270, 390, 510]
    assert {act[1:] for act in world.acts} == {("start", MOUNT)}
    assert world.told[0].message == "pool p1: mnt-p1.mount is started again"
    assert world.told[2].message == "pool p1: mnt-p1.mount is started again (try 3)"
    assert world.told[0].fields["KVMONTAP_UNIT"] == MOUNT


def test_not_while_nothing_answers_and_at_once_when_something_does(world):
    world.there = False
    world.run(AWAY, 400)
    assert world.acts == []
    world.there = True
    world.run(AWAY, 1)
    assert len(world.acts) == 1


def test_now_and_then_although_nothing_answers(world):
    world.there = False
    world.run(AWAY, 3600)
    assert 3 <= len(world.acts) <= 6


def test_what_is_well_again_starts_from_the_beginning(world):
    world.run(AWAY, 200)
    world.run(WELL, 1)
    world.acts.clear()
    world.run(AWAY, 10)
    (started,) = [act for act in world.acts if act[1] == "start"]
    assert started[2] == MOUNT and "try" not in world.told[-1].message


def test_a_mount_that_was_stopped_stays_so_and_costs_no_wake_up(world):
    world.states_of[MOUNT] = Unit("inactive", True)
    assert world.storage.use(FOUND, AWAY, set()) is None
    assert world.acts == []


def test_one_that_is_on_its_way_is_looked_at_soon(world):
    world.states_of[MOUNT] = Unit("activating", False)
    assert world.storage.use(FOUND, AWAY, set()) == storage.SOON and world.acts == []


def test_what_is_no_longer_mounted_is_guarded_once(world):
    world.states_of[MOUNT] = Unit("inactive", True)
    world.storage.use(FOUND, AWAY, set())
    assert world.acts == []  # at boot the guard's own service has done it
    for healths in (WELL, {"p1": worst("p1", [Finding("lif.down", DEGRADED, "")])}, AWAY, AWAY):
        world.storage.use(FOUND, healths, set())
    assert world.acts == [(0, "reload", storage.GUARD)]


def test_a_manager_that_does_not_answer_is_told_once(world):
    world.error = "systemd has not answered for 20 s"
    world.run(AWAY, 600)
    assert [line.message for line in world.told] == [world.error]


def test_what_systemctl_prints():
    shown = parse(
        "Job=17\nId=mnt-p1.mount\nLoadState=loaded\nActiveState=activating\nActiveEnterTimestampMonotonic=0\n\n"
        "Job=0\nId=b.service\nLoadState=loaded\nActiveState=failed\nActiveEnterTimestampMonotonic=17\n\n"
        "Job=\nId=c.service\nLoadState=not-found\nActiveState=inactive\nActiveEnterTimestampMonotonic=0\n"
    )
    assert shown == {
        "mnt-p1.mount": Unit("activating", False, True, True), "b.service": Unit("failed", True),
        "c.service": Unit("inactive", False, False),
    }  # fmt: skip


def test_where_it_is_asked_whether_anything_answers():
    assert places(NFS) == (("192.0.2.1", 2049), ("nas", 2049))
    assert places(NFS._replace(transport="rdma")) == ()
    assert places(Pool("s", "smb", server=("a",))) == (("a", 445),)
    assert places(Pool("i", "iscsi", portals=("192.0.2.1:3261", "[fd00::1]"))) == (("192.0.2.1", 3261), ("fd00::1", 3260))
    assert places(Pool("n", "nvme-tcp", portals=("192.0.2.1",))) == (("192.0.2.1", 8009), ("192.0.2.1", 4420))
    assert places(Pool("f", "fc")) == ()
