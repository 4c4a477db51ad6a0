"""A snapshot serves further starts while the images are what they were: real files, real find and stat, the pocket array.

The time stamps here are this host's, as a file server would make them; what NFS and SMB add is tried in the lab.
"""

import os
import threading
import time

import pytest

from kvmontap import command
from kvmontap.array import look
from kvmontap.model import Domain, Snapshots
from kvmontap.snapshots import Request, Reuse, Snapshotter
from kvmontap.snapshots import reuse as module
from kvmontap.snapshots.reuse import Print, parse
from tests.unit.array.over_https import soon
from tests.unit.host.conftest import fuse  # noqa: F401


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Site:
    """A pool in a directory with one image for each VM, on a volume of the pocket array."""

    def __init__(self, directory, client, pool, pocket, clock, **settings):
        self.directory, self.client, self.pocket = str(directory), client, pocket
        os.makedirs(self.directory, exist_ok=True)
        self.pool = pool._replace(name=os.path.basename(self.directory), target=self.directory, snapshots=Snapshots(**settings))
        self.volume = pool.export.strip("/").rsplit("/", 1)[-1]
        self.ref = look(client, pool, soon()).ref
        self.commands = command.Commands()
        self.reuse = Reuse(self.commands, clock)
        self.snapshotter = Snapshotter(reuse=self.reuse)

    def image(self, number, content=b"A"):
        path = f"{self.directory}/vm{number}.img"
        with open(path, "wb") as stream:
            stream.write(content * 1000)
        return path

    def request(self, number=0, images=None, **pool):
        vm = Domain(f"vm{number}", f"6f1a8a0e-4f7e-4b1e-9d5c-{number:012d}", ())
        paths = (f"{self.directory}/vm{number}.img",) if images is None else images
        return Request(self.client, self.ref, self.pool._replace(**pool), vm, "start", "kvm01", paths)

    def start(self, number=0, images=None, **pool):
        outcome, = self.snapshotter.take([self.request(number, images, **pool)], soon())
        assert outcome.finding is None
        return outcome

    @property
    def count(self):
        return len(self.pocket.volume(self.volume).snapshots)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def site(tmp_path, client, pool, pocket, clock):
    made = Site(tmp_path / "kvmnfs01", client, pool, pocket, clock)
    for number in range(3):
        made.image(number)
    yield made
    made.commands.close()


def test_unchanged_images_share_a_snapshot(site):
    first = site.start(0)
    assert [site.start(number) for number in (1, 2, 0)] == [first._replace(reused=True)] * 3 and not first.reused
    assert site.count == 1 and len(site.pocket.log.entries("POST")) == 1


@pytest.mark.parametrize("settings, clock_after, count", [
    ({}, 300, 1), ({}, 301, 2), ({"reuse": 0}, 0, 2), ({"reuse": 10}, 11, 2),
])  # fmt: skip
def test_for_so_many_seconds_of_this_boot(tmp_path, client, pool, pocket, clock, settings, clock_after, count):
    site = Site(tmp_path / "p", client, pool, pocket, clock, **settings)
    site.image(0)
    site.start()
    clock.now += clock_after
    site.start()
    assert site.count == count


def write(path):
    with open(path, "r+b") as stream:
        stream.write(b"B")


def rewrite_and_set_times_back(path):
    before = os.stat(path)
    write(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path):
    """By a file of the same size and time, as a restore on another host does."""
    before = os.stat(path)
    with open(path + ".new", "wb") as stream:
        stream.write(b"B" * before.st_size)
    os.utime(path + ".new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(path + ".new", path)


def swap_with_a_neighbour(path):
    os.rename(os.path.dirname(path) + "/vm1.img", path)


def make_a_link(path):
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)


def write_directly(path):
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_SYNC", 0))
    os.pwrite(descriptor, b"B", 0)
    os.close(descriptor)


@pytest.mark.parametrize("change", [
    write, rewrite_and_set_times_back, replace, swap_with_a_neighbour, make_a_link, write_directly,
    lambda path: os.truncate(path, 10), os.unlink, lambda path: os.chmod(path, 0o600),
])  # fmt: skip
def test_any_change_is_a_new_snapshot_for_that_vm_only(site, change):
    first = site.start(2)
    change(f"{site.directory}/vm0.img")
    assert site.start(2).name == first.name and site.count == 1
    assert site.start(0).name != first.name and site.count == 2


def test_a_write_as_soon_as_the_snapshot_is_asked_for(site, monkeypatch):
    """The moment at which it would hurt: after the fingerprint, before or after the array's own moment."""
    real = site.client.create_snapshot

    def create(*arguments):
        write(f"{site.directory}/vm0.img")
        return real(*arguments)

    monkeypatch.setattr(site.client, "create_snapshot", create)
    for _ in range(10):
        write(f"{site.directory}/vm0.img")
        before = site.count
        site.start(0)
        assert site.count == before + 1
        site.start(0)
        assert site.count == before + 2


@pytest.mark.parametrize("images", [(), ("/elsewhere/a.img",), ("{}/../x.img",), ("{}//vm0.img",), ("{}/vm0.img", "{}/none.img")])
def test_images_in_doubt(site, images):
    site.start(1)
    paths = tuple(path.format(site.directory) for path in images)
    assert not site.start(0, paths).reused and site.count == 2


@pytest.mark.parametrize("kind", [
    {"protocol": "iscsi", "filesystem": "gfs2"}, {"protocol": "fc", "filesystem": "ocfs2"}, {"type": "netfs"},
])  # fmt: skip
def test_never_where_writes_may_leave_no_trace(site, kind):
    site.start(0, **kind)
    assert not site.start(0, **kind).reused and site.count == 2


@pytest.mark.parametrize("reason", ["start", "migrate"])
def test_an_arrival_and_a_resume_follow_the_same_rules(site, reason):
    """A resume from managed save is a start; an arriving VM runs elsewhere, and what it wrote there since counts."""
    first = site.start(0)
    request = site.request(0)._replace(reason=reason)
    outcome, = site.snapshotter.take([request], soon())
    assert outcome.reused and outcome.name == first.name
    write(f"{site.directory}/vm0.img")
    outcome, = site.snapshotter.take([request], soon())
    assert not outcome.reused and f"-{reason}-" in outcome.name and site.count == 2


def test_a_vm_that_ran_on_another_host_in_between(site, client, pool, pocket, clock):
    """Each host remembers its own snapshots only; the image tells the rest."""
    mine = site.start(0)
    other = Site(site.directory, client, pool, pocket, clock)
    theirs = other.start(0)
    assert theirs.name != mine.name and site.start(0).name == mine.name  # not written to: the first still holds it
    write(f"{site.directory}/vm0.img")
    assert site.start(0).name not in (mine.name, theirs.name) and site.start(1).reused
    other.commands.close()


def test_another_label_or_lock_is_another_snapshot(site):
    site.start(0)
    site.start(0, snapshots=Snapshots(label="daily"))
    assert site.count == 2


def test_a_snapshot_that_retention_deleted_serves_nobody(site):
    site.reuse.forget([site.start(0).name])
    assert not site.start(0).reused


def test_a_failed_snapshot_serves_nobody(site):
    site.pocket.faults.add("error", "POST", count=1, code="1638532", message="revert")
    assert site.snapshotter.take([site.request()], soon())[0].finding
    assert not site.start(0).reused


def test_what_lies_below_and_the_arrays_own_directory(site):
    for place in ("sub/deep", ".snapshot/old", "a/b/c/d/e"):
        os.makedirs(f"{site.directory}/{place}")
        with open(f"{site.directory}/{place}/x.img", "wb") as stream:
            stream.write(b"x")
    site.start(0)
    assert site.start(1, (f"{site.directory}/sub/deep/x.img",)).reused
    assert not site.start(1, (f"{site.directory}/.snapshot/old/x.img",)).reused
    assert not site.start(1, (f"{site.directory}/a/b/c/d/e/x.img",)).reused


@pytest.mark.parametrize("name", ["größe.img", "two words.img", "new\nline.img", "-n", "%d %n.img", "{}"])
def test_any_name(site, name):
    path = f"{site.directory}/{name}"
    with open(path, "wb") as stream:
        stream.write(b"x")
    site.start(0)
    assert site.start(1, (path,)).reused
    write(path)
    assert not site.start(1, (path,)).reused


def test_no_answer_of_an_earlier_question_counts(site):
    """kvmontap.command shares answers for a second; here that would hide a write."""
    site.start(0)
    assert site.start(0).reused
    write(f"{site.directory}/vm0.img")
    assert not site.start(0).reused


def test_a_pool_that_hangs_costs_a_bounded_time_and_only_once(fuse, client, pool, pocket, clock):  # noqa: F811
    site = Site(fuse.target, client, pool, pocket, clock)
    fuse.tell("silent")
    began = time.monotonic()
    assert not site.start(0).reused
    first = time.monotonic() - began
    began = time.monotonic()
    site.start(0)
    second = time.monotonic() - began
    fuse.tell("answer")
    site.commands.close()
    assert first < module.ALL_SECONDS + 2 and second < 1.5 and site.count == 2


def test_fifty_vms_on_two_volumes_cost_two_snapshots(tmp_path, client, pool, pocket, clock):
    one = Site(tmp_path / "one", client, pool, pocket, clock)
    two = Site(tmp_path / "two", client, pool._replace(name="two", export="/deep/er/kvmnfs02"), pocket, clock)
    two.snapshotter = one.snapshotter
    for number in range(50):
        one.image(number)
        two.image(number)
    outcomes = []
    ready = threading.Barrier(10)

    def some(numbers):
        ready.wait()
        for number in numbers:
            outcomes.extend(one.snapshotter.take([one.request(number), two.request(number)], soon(30)))

    threads = [threading.Thread(target=some, args=(range(first, 50, 10),)) for first in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 100 and all(outcome.finding is None for outcome in outcomes)
    assert (one.count, two.count) == (1, 1) and len({outcome.name for outcome in outcomes}) == 1
    # One that ran elsewhere in between, on one of its volumes: a new set, since a name means one state of the VM.
    write(f"{one.directory}/vm7.img")
    outcomes = one.snapshotter.take([one.request(7), two.request(7)], soon())
    assert [outcome.reused for outcome in outcomes] == [False, False] and outcomes[0].name == outcomes[1].name
    assert (one.count, two.count) == (2, 2)
    # The others are served by either set, and a VM on one volume by what was taken for two.
    assert all(outcome.reused for outcome in one.snapshotter.take([one.request(8), two.request(8)], soon()))
    outcome, = one.snapshotter.take([one.request(9)], soon())
    assert outcome.reused and (one.count, two.count) == (2, 2)
    # A set serves though one of its volumes has a younger snapshot of its own; not once it is gone.
    write(f"{two.directory}/vm3.img")
    assert not one.snapshotter.take([two.request(3)], soon())[0].reused and two.count == 3
    again = one.snapshotter.take([one.request(8), two.request(8)], soon())
    assert all(outcome.reused for outcome in again) and len({outcome.name for outcome in again}) == 1
    one.reuse.forget(item.name for item in one.pocket.volume("kvmnfs01").snapshots.values())
    assert not any(outcome.reused for outcome in one.snapshotter.take([one.request(8), two.request(8)], soon()))
    one.commands.close()
    two.commands.close()


def test_what_is_remembered_of_unchanged_files_is_remembered_once(site):
    """A pool of many files costs its memory once, not for each of the snapshots that are remembered."""
    for _ in range(6):
        write(f"{site.directory}/vm0.img")
        site.start(0)
    (held,) = site.reuse._entries.values()
    assert len(held) == module._REMEMBERED
    for number, count in ((0, len(held)), (1, 1)):
        path = f"{site.directory}/vm{number}.img"
        assert len({id(entry.prints[path]) for entry in held}) == count
        assert len({id(next(one for one in entry.prints if one == path)) for entry in held}) == 1


def test_what_stat_prints():
    line = "65024 5312003 3771 1795423581.727658378 1795423581.727658378 81a4 /a b\0#7\0"
    assert parse(line) == {"/a b": Print(65024, 5312003, 3771, "1795423581.727658378", "1795423581.727658378")}
    assert parse(line.replace("581.727658378 81a4", "581.000000000 81a4")) == {}  # a server that counts in seconds
    assert parse(line.replace("81a4", "41ed")) == parse(line.replace("81a4", "a1ff")) == {}  # a directory, a link
    assert parse("") == parse("1 2 3") == parse(line.replace("65024", "x")) == parse(line.replace("/a b", "/\ufffd")) == {}
