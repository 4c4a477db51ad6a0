"""kvmontap.host.probe: recorded mounts for what mountinfo tells, a real file system in user space for what answers.

The FUSE mount is shown to the prober as the NFS mount it stands for; the process, the system call, the kernel's hang
and its end are real.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap import command
from kvmontap.host import mountinfo, probe
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Gate, Pool

NFS = Pool("kvmnfs01", "nfs", "/mnt/kvmnfs01", server=("172.21.35.11", "172.21.36.11"), export="/kvmnfs01")
SMB = Pool("kvmsmb01", "smb", "/mnt/kvmsmb01", server=("KVMFS01.sddc.netapp.com",), share="kvmsmb01")
ROOT = Mount("/", "/dev/vda", "ext4", ("rw",), id=1, parent=0, super_options=("rw",))
NFS_MOUNT = Mount(
    "/mnt/kvmnfs01", "172.21.35.11:/kvmnfs01", "nfs4", ("rw", "relatime"), "/", "0:61", ("rw", "vers=4.1", "addr=172.21.35.11"), 2, 1
)
SMB_MOUNT = Mount(
    "/mnt/kvmsmb01", "//kvmfs01.sddc.netapp.com/kvmsmb01", "cifs", ("rw",), "/", "0:62", ("rw", "addr=172.21.35.13"), 3, 1
)


def soon(seconds=10.0):
    return time.monotonic() + seconds


def until(condition, seconds=20.0):
    """Waits for a condition; what it last gave."""
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


def codes(findings):
    return [one.code for one in findings]


class Answers(command.Commands):
    """Commands whose answers are recorded instead of run."""

    def __init__(self, **recorded):
        super().__init__()
        self.recorded = recorded
        self.asked = []

    def run(self, key, argv, deadline, patience=5.0, memory=0):
        self.asked.append(argv)
        return self.recorded.get(os.path.basename(argv[0]), command.Answer(command.ANSWERED, 0, "4096 1000 900 100 90\n"))


def look(pool, *mounts, **recorded):
    """The findings for a host with just these mounts."""
    return probe.Prober("/nonexistent", Answers(**recorded), lambda: (ROOT,) + mounts).check(pool, soon())


# What the kernel remembers.


def test_a_sound_pool_has_no_findings():
    assert look(NFS, NFS_MOUNT) == ()
    assert look(SMB, SMB_MOUNT) == ()


def test_a_missing_mount():
    (found,) = look(NFS)
    assert (found.code, found.health) == ("mount.missing", "failed")
    assert found.text == "/mnt/kvmnfs01 is not mounted" and found.fix == "systemctl start mnt-kvmnfs01.mount"
    # Below another mount, or hidden by one, is not mounted either.
    assert codes(look(NFS, NFS_MOUNT._replace(where="/mnt"))) == ["mount.missing"]
    assert codes(look(NFS, NFS_MOUNT, Mount("/mnt", "t", "tmpfs", id=9, parent=1))) == ["mount.missing"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"what": "172.21.36.11:/kvmnfs01"},
        {"what": "172.21.35.11:/kvmnfs01/"},
        {"what": "172.21.35.11://kvmnfs01"},
        {"what": "filer:/kvmnfs01"},  # addr= is one of ours
        {"fstype": "nfs"},
        {"what": "172.21.35.11:/", "root": "/kvmnfs01"},
    ],
)
def test_right_nfs_sources(change):
    assert look(NFS, NFS_MOUNT._replace(**change)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"what": "172.21.35.11:/other"},
        {"what": "10.9.9.9:/kvmnfs01", "super_options": ("rw", "addr=10.9.9.9")},
        {"root": "/subdirectory"},
        {"what": "172.21.35.11:/kvmnfs01x"},
        {"what": "nonsense"},
    ],
)
def test_wrong_nfs_sources(change):
    (found,) = look(NFS, NFS_MOUNT._replace(**change))
    assert found.code == "mount.wrong-source" and found.health == "failed"
    assert "instead of 172.21.35.11:/kvmnfs01 or 172.21.36.11:/kvmnfs01" in found.text


def test_ipv6_servers_in_any_spelling():
    pool = NFS._replace(server=("FD00:0:0::1",))
    assert look(pool, NFS_MOUNT._replace(what="[fd00::1]:/kvmnfs01", super_options=("rw",))) == ()
    (found,) = look(pool, NFS_MOUNT)
    assert found.text.endswith("instead of [fd00::1]:/kvmnfs01")


@pytest.mark.parametrize(
    "change, share",
    [
        ({}, "kvmsmb01"),
        ({"what": "//KVMFS01.SDDC.NETAPP.COM/KvmSmb01"}, "kvmsmb01"),
        ({"what": "\\\\kvmfs01.sddc.netapp.com\\kvmsmb01"}, "/kvmsmb01/"),
        ({"fstype": "smb3"}, "kvmsmb01"),
        ({"what": "//kvmfs01.sddc.netapp.com/kvmsmb01/vms", "root": "/vms"}, "kvmsmb01/vms"),
        ({"what": "//kvmfs01.sddc.netapp.com/kvmsmb01/vms"}, "kvmsmb01/vms"),
    ],
)
def test_right_smb_sources(change, share):
    assert look(SMB._replace(share=share), SMB_MOUNT._replace(**change)) == ()


@pytest.mark.parametrize(
    "change", [{"what": "//other/kvmsmb01"}, {"what": "//kvmfs01.sddc.netapp.com/other"}, {"root": "/sub"}]
)
def test_wrong_smb_sources(change):
    (found,) = look(SMB, SMB_MOUNT._replace(**change), getent=command.Answer(command.ANSWERED, 0, "172.21.35.99 STREAM x\n"))
    assert found.code == "mount.wrong-source"


def test_names_are_resolved_only_where_name_and_address_differ():
    pool = NFS._replace(server=("filer.example.com",))
    byname = NFS_MOUNT._replace(what="filer.example.com:/kvmnfs01")
    assert look(pool, byname, getent=command.Answer(command.BROKEN)) == ()
    told = command.Answer(command.ANSWERED, 0, "172.21.35.11    STREAM filer.example.com\n172.21.35.11    DGRAM\n")
    assert look(pool, NFS_MOUNT, getent=told) == ()
    other = command.Answer(command.ANSWERED, 0, "10.0.0.1  STREAM filer.example.com\n")
    assert codes(look(pool, NFS_MOUNT, getent=other)) == ["mount.wrong-source"]
    for silent in (command.Answer(command.HANGS), command.Answer(command.ANSWERED, 2), command.Answer(command.BROKEN)):
        (found,) = look(pool, NFS_MOUNT, getent=silent)
        assert (found.code, found.health) == ("mount.unverified", "unknown")


def test_the_real_resolver_is_asked(tmp_path):
    prober = probe.Prober(mounts=lambda: (ROOT, NFS_MOUNT))
    assert "127.0.0.1" in prober._resolve(("localhost",), soon())
    assert prober._resolve(("no-such-host.invalid",), soon(20)) is None
    assert prober._resolve(("-A", "--help"), soon(20)) is None  # a name is never an option
    assert prober._resolve(("FD00::0:1", "10.0.0.1", "10.0.0.1"), soon()) == ("fd00::1", "10.0.0.1")


def test_wrong_type_and_read_only():
    (found,) = look(NFS, NFS_MOUNT._replace(fstype="tmpfs", what="tmpfs"))
    assert found.text == "/mnt/kvmnfs01 holds a tmpfs file system instead of nfs or nfs4"
    assert codes(look(NFS, NFS_MOUNT._replace(options=("ro",)))) == ["mount.read-only"]
    assert codes(look(NFS, NFS_MOUNT._replace(super_options=("ro", "addr=172.21.35.11")))) == ["mount.read-only"]


@pytest.mark.parametrize("options", [("rw", "shutdown"), ("rw", "errors=remount-ro", "emergency_ro")])
def test_a_file_system_that_its_kernel_has_given_up(options):
    """As Linux 6.18 shows an ext4 after an error (errors=remount-ro) and after EXT4_IOC_SHUTDOWN: not "ro", and statfs answers."""
    pool = Pool("x", "iscsi", "/mnt/x", device="/dev/none", filesystem="ext4")
    mount = Mount("/mnt/x", "/dev/none", "ext4", ("rw",), "/", "0:99", options, 2, 1)
    found = look(pool, mount)
    assert codes(found) == ["mount.shut-down"] and found[0].health == "failed"


def test_an_xfs_that_its_kernel_has_shut_down():
    """As Linux 6.18 told it after XFS_IOC_GOINGDOWN: mountinfo and statfs as before, stat(2) an error."""

    class Shut(Answers):
        def run(self, key, argv, deadline, patience=5.0, memory=0):
            if "-f" not in argv:
                return command.Answer(command.ANSWERED, 1, "", "stat: cannot statx '/mnt/x': Input/output error\n")
            return super().run(key, argv, deadline, patience, memory)

    pool = Pool("x", "iscsi", "/mnt/x", device="/dev/none", filesystem="xfs")
    options = ("rw", "inode64", "logbufs=8", "logbsize=32k", "noquota")
    mounts = (ROOT, Mount("/mnt/x", "/dev/loop3", "xfs", ("rw", "relatime"), "/", "7:3", options, 102, 1))
    found, = probe.Prober("/nonexistent", Shut(), lambda: mounts).check(pool, soon())
    assert (found.code, found.health) == ("mount.shut-down", "failed") and "(input/output error)" in found.text
    assert probe.Prober("/nonexistent", Answers(), lambda: mounts).check(pool, soon()) == ()


@pytest.mark.parametrize("option, found", [((), ["transport.few"]), (("nconnect=2",), ["transport.few"]), (("nconnect=4",), []),
                                           (("nconnect=8",), [])])
def test_fewer_connections_than_asked_for(option, found):
    mount = NFS_MOUNT._replace(super_options=NFS_MOUNT.super_options + option)
    assert codes(look(NFS._replace(nconnect=4), mount)) == found
    assert codes(look(NFS, mount)) == []


def test_a_pool_without_a_mount_is_judged_by_its_paths():
    wwid = "3600a098000000000000000000000dead"
    (found,) = look(Pool("b", "iscsi", type="logical", portals=("10.0.0.1",), wwid=wwid))
    assert (found.code, wwid in found.text) == ("path.none", True)
    (found,) = look(Pool("b", "iscsi", type="mpath", portals=("10.0.0.1",)))
    assert found.code == "path.none" and "no session" in found.text
    assert look(Pool("b", "iscsi", type="iscsi-direct", portals=("10.0.0.1",), iqn=("iqn.x:y",))) == ()


@pytest.mark.parametrize(
    "answer, code, said",
    [
        (command.Answer(command.ANSWERED, 1, "", "stat: cannot read ... for '/mnt/a: b': Stale file handle\n"), "mount.stale", "stale"),
        (command.Answer(command.ANSWERED, 1, "", "stat: ...'/x': Input/output error\n"), "mount.error", "Input/output error"),
        (command.Answer(command.ANSWERED, 1, "", "stat: ...: Stale file handle (os error 116)\n"), "mount.stale", "stale"),
        (command.Answer(command.ANSWERED, 1, "", ""), "mount.error", "status 1"),
        (command.Answer(command.ANSWERED, -9, "", ""), "mount.error", "status -9"),
        (command.Answer(command.ANSWERED, 0, "? ? ? ? ?", ""), "mount.error", "status 0"),
        (command.Answer(command.ANSWERED, 0, "\u0661 2 3 4 5", ""), "mount.error", "status 0"),
        (command.Answer(command.BROKEN, error="No such file or directory"), "mount.error", "/usr/bin/stat cannot be run"),
        (command.Answer(command.HANGS, seconds=7.25, since=1000.0), "mount.no-answer", "asked for 7.2 s"),
    ],
)
def test_every_answer_of_stat_is_understood(answer, code, said):
    (found,) = look(NFS, NFS_MOUNT, stat=answer)
    assert found.code == code and said in found.text and found.health == "failed"
    assert found.since == (1000.0 if answer.state == command.HANGS else None)


@pytest.mark.parametrize(
    "min_free, space, expected",
    [
        ((5.0, "%"), probe.Space(1000, 49, 0, 0), ["space.full"]),
        ((5.0, "%"), probe.Space(1000, 50, 0, 0), ["space.low"]),
        ((5.0, "%"), probe.Space(1000, 75, 0, 0), []),
        ((100.0, "B"), probe.Space(1000, 99, 0, 0), ["space.full"]),
        ((100.0, "B"), probe.Space(1000, 100, 0, 0), ["space.low"]),
        ((0.0, "%"), probe.Space(1000, 0, 0, 0), []),
        ((5.0, "%"), probe.Space(0, 0, 0, 0), []),  # it does not count
        ((5.0, "%"), probe.Space(1000, 500, 100, 0), ["inodes.full"]),
        ((5.0, "%"), probe.Space(1000, 500, 0, 0), []),
        ((5.0, "%"), probe.Space(1000, 1, 5, 0), ["space.full", "inodes.full"]),
    ],
)
def test_space(min_free, space, expected):
    assert codes(probe.judge(NFS._replace(gate=Gate(min_free=min_free)), space)) == expected


def test_space_is_told_for_people():
    (found,) = probe.judge(NFS, probe.Space(1 << 40, 1 << 30, 0, 0))
    assert found.text == "only 1.0 GiB of 1.0 TiB are free on /mnt/kvmnfs01, min-free asks for 5% (51.2 GiB)"
    assert [probe.size_text(size) for size in (0, 1023, 1024, 150 * 1024, 1 << 62)] == ["0 B", "1023 B", "1.0 KiB", "150 KiB", "4096 PiB"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.integers(-20, 255))
def test_whatever_stat_prints_gives_findings(output, error, status):
    for found in look(NFS, NFS_MOUNT, stat=command.Answer(command.ANSWERED, status, output, error)):
        assert found.text


# What answers: the FUSE mount in the place of the NFS mount.


@pytest.fixture
def pool(fuse):
    return NFS._replace(target=fuse.target)


def shown_as_nfs(target, fstype="fuse"):
    shown = {"fstype": "nfs4", "what": "172.21.35.11:/kvmnfs01"}

    def mounts():
        ours = (target, fstype)
        return tuple(mount._replace(**shown) if (mount.where, mount.fstype) == ours else mount for mount in mountinfo.read())

    return mounts


@pytest.fixture
def prober(fuse):
    made = []

    def make(**options):
        patience = options.pop("patience", 5.0)
        made.append(probe.Prober("/", command.Commands(**options), shown_as_nfs(fuse.target), patience))
        return made[-1]

    yield make
    for one in made:
        one.close()
    fuse.tell("answer")
    assert until(lambda: not [pid for one in made for pid in one.commands.in_flight()])


def children():
    """The state letter of each child of this process that runs stat, by pid: D, S, Z..."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stream:
                    head, _, rest = stream.read().rpartition(") ")
            except OSError:
                continue
            if rest.split()[1] == str(os.getpid()) and head.partition("(")[2] == "stat":
                found[int(name)] = rest.split()[0]
    return found


def test_a_server_that_answers(fuse, pool, prober):
    one = prober(fresh=0.0)
    assert one.check(pool, soon()) == ()
    fuse.tell("space 4096 1000 10 100 90")
    assert codes(one.check(pool, soon())) == ["space.full"]
    fuse.tell("space 4096 1000 60 100 0")
    assert codes(one.check(pool, soon())) == ["space.low", "inodes.full"]


def test_a_server_that_errs(fuse, pool, prober):
    one = prober(fresh=0.0)
    for number, code in ((errno.ESTALE, "mount.stale"), (errno.EIO, "mount.error"), (errno.EHOSTDOWN, "mount.error")):
        fuse.tell(f"error {number}")
        (found,) = one.check(pool, soon())
        assert found.code == code
        assert code == "mount.stale" or os.strerror(number) in found.text
    fuse.tell("error 0")
    assert one.check(pool, soon()) == ()


def test_a_burst_shares_one_question(fuse, pool, prober):
    one = prober(fresh=30.0)
    before = fuse.tell("count")
    for _ in range(50):
        assert one.check(pool, soon()) == ()
    assert fuse.tell("count") == before + 1


def test_twenty_callers_of_a_silent_server_cost_one_process_and_are_answered_in_time(fuse, pool, prober):
    one = prober()
    before = fuse.tell("silent")
    results, waited = [], []

    def ask():
        started = time.monotonic()
        results.append(one.check(pool, started + 1.0))
        waited.append(time.monotonic() - started)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert until(lambda: fuse.tell("count") == before + 1)
    assert list(children()) == list(one.commands.in_flight()) and len(children()) == 1
    for thread in threads:
        thread.join()
    assert [codes(found) for found in results] == [["mount.no-answer"]] * 20
    assert 0.9 < min(waited) and max(waited) < 1.5, waited
    assert abs(results[0][0].since - time.time()) < 60
    # Those who come later, with the process still there, share it as well.
    assert codes(one.check(pool, time.monotonic() + 0.1)) == ["mount.no-answer"]
    assert len(children()) == 1 and fuse.tell("count") == before + 1
    # The server is back: the process ends, it is collected without anybody asking, and the next answer is the server's.
    fuse.tell("answer")
    assert until(lambda: not children())
    assert until(lambda: one.check(pool, soon()) == ())
    assert until(lambda: not [thread for thread in threading.enumerate() if thread.name == "kvmontap-bury"])


def test_who_comes_when_it_has_been_silent_for_long_is_not_kept_waiting(fuse, pool, prober):
    one = prober(patience=0.3)
    fuse.tell("silent")
    assert codes(one.check(pool, soon(0.4))) == ["mount.no-answer"]
    started = time.monotonic()
    for _ in range(200):  # as many autostart VMs, one after the other
        (found,) = one.check(pool, soon(5.0))
        assert found.code == "mount.no-answer"
    assert time.monotonic() - started < 2.0
    assert len(children()) == 1
    fuse.tell("answer")
    assert until(lambda: one.check(pool, soon()) == ())


def test_one_that_even_a_kill_does_not_end_stays_alone_and_is_collected_later(fuse, pool, prober):
    one = prober(linger=0.0, patience=0.1)
    before = fuse.tell("silent")
    assert codes(one.check(pool, soon(0.2))) == ["mount.no-answer"]
    ((pid, _),) = children().items()
    # SIGKILL is pending, and the process is still there: uninterruptible.
    assert until(lambda: pending(pid) & 1 << (signal.SIGKILL - 1))
    assert until(lambda: children().get(pid) == "D")
    for _ in range(20):
        assert codes(one.check(pool, soon(0.5))) == ["mount.no-answer"]
    assert list(children()) == [pid] and fuse.tell("count") == before + 1
    fuse.tell("answer")
    assert until(lambda: not children())
    assert until(lambda: one.check(pool, soon()) == ())


def pending(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as stream:
        fields = dict(line.rstrip("\n").partition(":\t")[::2] for line in stream)
    return int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)


def test_a_silent_server_costs_no_memory_and_no_descriptors(fuse, pool, prober):
    one = prober(patience=0.05)
    fuse.tell("silent")
    one.check(pool, soon(0.1))
    for _ in range(200):
        one.check(pool, soon(0.1))
    before = usage()
    for _ in range(3000):
        one.check(pool, soon(0.1))
    after = usage()
    assert after[0] - before[0] < 512, "KiB of memory"
    assert after[1:] == before[1:], "descriptors, threads"


def usage():
    """Resident KiB, open descriptors, threads of this process."""
    with open("/proc/self/status", encoding="utf-8") as stream:
        resident = next(int(line.split()[1]) for line in stream if line.startswith("VmRSS"))
    return resident, len(os.listdir("/proc/self/fd")), threading.active_count()


def test_answers_leave_nothing_behind(fuse, pool, prober):
    one = prober(fresh=0.0)
    one.check(pool, soon())
    until(lambda: one.check(pool, soon()) == ())
    before = usage()[1:]
    for _ in range(100):
        assert one.check(pool, soon()) == ()
    assert usage()[1:] == before and not children()


@pytest.mark.parametrize("text,asked", [("Bad file descriptor", 2), ("Remote address changed", 2), ("No such file or directory", 1)])
def test_smb_is_asked_again_while_it_connects_anew(text, asked):
    """cifs answers the first question after a share's return with an error, and connects because of it."""

    class Reconnecting(Answers):
        def run(self, key, argv, deadline, patience=5.0, memory=0):
            answer = super().run(key, argv, deadline, patience, memory)
            failed = f"stat: cannot read file system information for '/mnt/kvmsmb01': {text}\n"
            return command.Answer(command.ANSWERED, 1, "", failed) if len(self.asked) == 1 else answer

    answers = Reconnecting()
    found = probe.Prober("/nonexistent", answers, lambda: (ROOT, SMB_MOUNT)).check(SMB, soon())
    assert len(answers.asked) == asked and codes(found) == ([] if asked > 1 else ["mount.error"])
    answers = Reconnecting()  # no time is left for another question
    assert codes(probe.Prober("/nonexistent", answers, lambda: (ROOT, SMB_MOUNT)).check(SMB, soon(1))) == ["mount.error"]


def test_a_trunked_mount_is_asked_again_when_a_question_gets_stuck(pool, tmp_path):
    """Real processes in stat's place: the first question hangs as on a dead transport, the next gets through."""
    program = tmp_path / "stat"
    program.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -ge 3 ] || exec sleep 1000\n"
                       "echo 4096 1000 900 100 90\n")
    program.chmod(0o755)
    where = tmp_path / "sys/kernel/sunrpc/xprt-switches/switch-0/xprt-0-tcp"
    where.mkdir(parents=True)
    (where / "dstaddr").write_text("172.21.35.11\n")
    (where / "xprt_info").write_text("last_used=1\npending_q_len=2\ndst_port=2049\n")
    one = probe.Prober(str(tmp_path), command.Commands(fresh=0.0), lambda: (ROOT, NFS_MOUNT))
    probe.STAT, real = str(program), probe.STAT
    try:
        assert codes(one.check(NFS, soon(0.2))) == ["mount.no-answer"]  # not trunked: one question, one answer
        one.commands.close()
        (tmp_path / "asked").unlink()
        one = probe.Prober(str(tmp_path), command.Commands(fresh=0.0), lambda: (ROOT, NFS_MOUNT))
        started = time.monotonic()
        found = one.check(NFS._replace(trunking=True), started + 6)
        assert time.monotonic() - started < 6.5
        assert "transport.stuck" in codes(found) and "mount.no-answer" not in codes(found)
        assert (tmp_path / "asked").read_text() == "\n\n\n"
        assert not one.commands.in_flight()
    finally:
        probe.STAT = real
        one.close()


def test_a_new_mount_does_not_wait_for_the_dead_one_beneath(fuse, pool, prober):
    """After umount -l and mount, the question to the old mount still hangs; the new one is asked at once."""
    one = prober(patience=0.1)
    fuse.tell("silent")
    assert codes(one.check(pool, soon(0.2))) == ["mount.no-answer"]
    subprocess.run(["mount", "-t", "tmpfs", "new", fuse.target], check=True)
    try:
        assert codes(one.check(pool, soon())) == ["mount.wrong-type"]
    finally:
        subprocess.run(["umount", fuse.target], check=True)
    assert codes(one.check(pool, soon(0.2))) == ["mount.no-answer"]


def test_a_process_that_ends_leaves_nothing_that_can_be_killed(fuse, pool):
    """The hook without a daemon: its pipes are free at once, whatever hangs; what is left ends with the silence."""
    fuse.tell("silent")
    script = (
        "import sys, time; from kvmontap.host import probe, mountinfo; from kvmontap.model import Pool\n"
        f"target = {fuse.target!r}\n"
        "mounts = tuple(m._replace(fstype='nfs4', what='h:/e') if m.where == target else m for m in mountinfo.read())\n"
        "prober = probe.Prober(mounts=lambda: mounts)\n"
        "found = prober.check(Pool('p', 'nfs', target, server=('h',), export='/e'), time.monotonic() + 0.3)\n"
        "print([one.code for one in found], *prober.commands.in_flight()); prober.close()"
    )
    started = time.monotonic()
    # communicate() waits for the end of file on both pipes, as libvirt does.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True,
                          cwd=os.path.join(os.path.dirname(__file__), "../../.."))
    assert time.monotonic() - started < 5
    listed, _, pid = done.stdout.strip().rpartition(" ")
    assert listed == "['mount.no-answer']" and done.stderr == ""
    assert pending(int(pid)) & 1 << (signal.SIGKILL - 1)
    fuse.tell("answer")
    assert until(lambda: not os.path.exists(f"/proc/{pid}/exe") or not os.path.exists(f"/proc/{pid}"))


# Automounts: the kernel's autofs, which mounts when somebody asks.


@pytest.fixture
def automounted(autofs):
    prober = probe.Prober("/", command.Commands(fresh=0.0), shown_as_nfs(autofs.target, "tmpfs"))
    yield prober
    prober.close()
    autofs.tell("fail")
    assert until(lambda: not prober.commands.in_flight())


def test_asking_mounts_an_automount(autofs, automounted):
    pool = NFS._replace(target=autofs.target)
    assert mountinfo.at(mountinfo.read(), autofs.target).fstype == "autofs"
    before = autofs.tell("mount")
    assert automounted.check(pool, soon()) == ()
    assert autofs.tell("mount") == before + 1
    assert mountinfo.at(mountinfo.read(), autofs.target).fstype == "tmpfs"
    assert automounted.check(pool, soon()) == ()  # the mount above the autofs counts
    assert autofs.tell("mount") == before + 1


def test_an_automount_that_fails_is_a_missing_mount(autofs, automounted):
    autofs.tell("fail")
    assert codes(automounted.check(NFS._replace(target=autofs.target), soon())) == ["mount.missing"]


def test_an_automount_that_does_not_come_is_no_answer_until_it_does(autofs, automounted):
    pool = NFS._replace(target=autofs.target)
    before = autofs.tell("wait")
    for _ in range(3):
        assert codes(automounted.check(pool, soon(0.2))) == ["mount.no-answer"]
    assert len(children()) == 1
    assert autofs.tell("mount") == before + 1
    assert until(lambda: automounted.check(pool, soon()) == ())
    assert until(lambda: not children())
