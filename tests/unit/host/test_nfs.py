"""kvmontap.host.nfs on trees as Linux 6.12 shows them below /sys/kernel/sunrpc."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmontap import command
from kvmontap.host import nfs, probe
from kvmontap.host.mountinfo import Mount
from kvmontap.model import Pool

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
A, B, C = "172.21.35.11", "172.21.36.11", "172.21.37.11"
MOUNT = Mount("/mnt/p", f"{A}:/p", "nfs4", ("rw",), "/", "0:61", ("rw", f"addr={A}"), 2, 1)
INFO = (
    "last_used={last_used}\ncur_cong=0\ncong_win=256\nmax_num_slots=65536\nmin_num_slots=2\nnum_reqs=2\nbinding_q_len=0\n"
    "sending_q_len=0\npending_q_len={pending}\nbacklog_q_len=0\nmain_xprt=1\nsrc_port=843\ntasks_queuelen={tasks}\ndst_port={port}\n"
)
UP = "state= CONNECTED  BOUND        \n"


class Sunrpc:
    """A recorded tree that can change."""

    def __init__(self, root):
        self.root = str(root)
        self.top = os.path.join(self.root, nfs.SWITCHES)
        self.count = 0

    def transport(self, switch, host, pending=0, last_used=4295000000, port=2049, state=UP, kind="tcp", tasks=1):
        where = os.path.join(self.top, f"switch-{switch}", f"xprt-{self.count}-{kind}")
        self.count += 1
        os.makedirs(where)
        self.write(where, "dstaddr", host + "\n\0")  # kernels before 6.13 end the text with a NUL
        self.write(where, "xprt_state", state)
        self.info(where, pending, last_used, port, tasks)
        return where

    def info(self, where, pending, last_used, port=2049, tasks=1):
        self.write(where, "xprt_info", INFO.format(last_used=last_used, pending=pending, port=port, tasks=tasks))

    def write(self, where, name, text):
        # By renaming: a reader sees one text or the other, as in sysfs.
        with open(os.path.join(where, "." + name), "w", encoding="ascii") as stream:
            stream.write(text)
        os.rename(os.path.join(where, "." + name), os.path.join(where, name))


@pytest.fixture
def sunrpc(tmp_path):
    return Sunrpc(tmp_path)


def check(sunrpc, *addresses, seconds=10.0):
    return nfs.Transports(sunrpc.root).check(MOUNT, addresses or (A, B), time.monotonic() + seconds, {})


def test_a_transport_to_each_address(sunrpc):
    for host in (A, A, A, A, B):
        sunrpc.transport(0, host)
    assert check(sunrpc) == ()


def test_a_missing_transport(sunrpc):
    for _ in range(4):
        sunrpc.transport(0, A)
    (found,) = check(sunrpc)
    assert (found.code, found.health) == ("transport.missing", "degraded")
    assert found.text == f"no NFS transport to {B} (1 of 2 addresses in use)"
    (found,) = check(sunrpc, A, B, C)
    assert found.text == f"no NFS transport to {B}, {C} (1 of 3 addresses in use)"


def test_other_servers_switches_do_not_count(sunrpc):
    sunrpc.transport(0, "10.9.9.9")
    sunrpc.transport(1, A)
    sunrpc.transport(2, B, port=111)  # rpcbind
    assert [one.code for one in check(sunrpc)] == ["transport.missing"]


def test_of_two_switches_the_one_with_the_mounts_address_and_most_of_the_pools_counts(sunrpc):
    sunrpc.transport(0, A)
    sunrpc.transport(1, A)
    sunrpc.transport(1, B)
    assert check(sunrpc) == ()
    # A switch of another mount, to B and C alone, is not ours, whose address is A.
    other = Sunrpc(sunrpc.root + "/other")
    other.transport(0, A)
    other.transport(1, B)
    other.transport(1, C)
    (found,) = check(other, A, B, C)
    assert f"no NFS transport to {B}, {C}" in found.text


def test_requests_that_do_not_move_are_told(sunrpc):
    sunrpc.transport(0, A, pending=3)
    sunrpc.transport(0, B)
    started = time.monotonic()
    (found,) = check(sunrpc)
    assert 0.9 < time.monotonic() - started < 3
    assert (found.code, found.health, found.text) == ("transport.stuck", "degraded", f"requests to {A} are stuck (3 waiting)")


def test_one_finding_for_an_address_and_one_second_for_all_its_transports(sunrpc):
    for host in (A, A, A, A, B):
        sunrpc.transport(0, host, pending=2 if host == A else 0)
    started = time.monotonic()
    (found,) = check(sunrpc)
    assert found.text == f"requests to {A} are stuck (8 waiting)"
    assert time.monotonic() - started < 2
    transports = nfs.Transports(sunrpc.root)
    assert transports.waiting(MOUNT, (A, B)) == {A: 8}
    told = transports.check(MOUNT, (A, B), time.monotonic(), {B: 1})
    assert sorted(one.text for one in told) == [f"requests to {A} are stuck (8 waiting)", f"requests to {B} are stuck (1 waiting)"]


@pytest.mark.parametrize("change", [{"pending": 0, "last_used": 4295000000}, {"pending": 9, "last_used": 4295000001}])
def test_requests_that_move_are_well(sunrpc, change):
    where = sunrpc.transport(0, A, pending=3)
    sunrpc.transport(0, B)
    timer = threading.Timer(0.1, lambda: sunrpc.info(where, **change))
    timer.start()
    assert check(sunrpc) == ()
    timer.join()


def test_the_deadline_is_kept(sunrpc):
    for _ in range(16):
        sunrpc.transport(0, A, pending=1)
    started = time.monotonic()
    check(sunrpc, A, seconds=0.3)
    assert time.monotonic() - started < 1


def test_idle_tasks_and_closed_connections_are_no_finding(sunrpc):
    """A lease's task always counts in tasks_queuelen; an idle connection may be closed, and its xprt_info unreadable."""
    sunrpc.transport(0, A, tasks=5)
    where = sunrpc.transport(0, B, state="state=CLOSED\n")
    os.remove(os.path.join(where, "xprt_info"))
    assert check(sunrpc) == ()


def test_ipv6_in_any_spelling(sunrpc):
    sunrpc.transport(0, "fd00:0:0::1")
    assert check(sunrpc, "[FD00::1]") == ()


def test_a_kernel_that_tells_nothing_is_no_finding(sunrpc):
    assert check(sunrpc) == ()
    sunrpc.transport(0, "<closed>")
    assert check(sunrpc) == ()


def test_it_only_reads(sunrpc):
    """Writing there has crashed kernels.  Python's audit hook sees every open of the process, with its flags."""
    sunrpc.transport(0, A, pending=1)
    script = (
        "import os, sys, time; from kvmontap.host import nfs; from kvmontap.host.mountinfo import Mount\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, what: seen.append((event,) + what) if event.split('.')[0] in ('open', 'os') else None)\n"
        f"nfs.Transports({sunrpc.root!r}).check(Mount('/p', 'h:/p', 'nfs4'), ({A!r},), time.monotonic() + 0.5, {{}})\n"
        "print(sorted({one[0] for one in seen}), sum(one[0] == 'open' for one in seen))\n"
        "assert not [one for one in seen if one[0] == 'open' and one[3] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)]"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events, _, opens = done.stdout.strip().rpartition(" ")
    assert events == "['open', 'os.listdir']" and int(opens) > 6


def test_the_prober_looks_at_them_for_trunked_pools_only(sunrpc):
    sunrpc.transport(0, A)
    pool = Pool("p", "nfs", "/mnt/p", server=(A, B), export="/p")

    class Fine(command.Commands):
        def run(self, key, argv, deadline, patience=5.0, memory=0):
            return command.Answer(command.ANSWERED, 0, "4096 1000 900 100 90\n")

    mounts = (Mount("/", "d", "ext4", ("rw",), id=1), MOUNT)
    prober = probe.Prober(sunrpc.root, Fine(), lambda: mounts)
    assert prober.check(pool, time.monotonic() + 5) == ()
    (found,) = prober.check(pool._replace(trunking=True), time.monotonic() + 5)
    assert found.code == "transport.missing"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["dstaddr", "xprt_state", "xprt_info"]), st.binary(max_size=80) | st.sampled_from(
    [b"172.21.35.11", b"pending_q_len=99999999999999999999999999", b"pending_q_len=-1\nlast_used=x", b"=\n=\n", b"state=", b"\xff\xff"])))
def test_any_bytes_below_sys_are_read(tmp_path, files):
    where = tmp_path / nfs.SWITCHES / "switch-0" / "xprt-0-tcp"
    where.mkdir(parents=True, exist_ok=True)
    for name in ("dstaddr", "xprt_state", "xprt_info"):
        (where / name).unlink(missing_ok=True)
    for name, text in files.items():
        (where / name).write_bytes(text)
    nfs.Transports(str(tmp_path)).check(MOUNT, (A, B), time.monotonic() + 0.06, {})


def test_files_that_are_directories_or_unreadable_are_passed_over(sunrpc):
    where = sunrpc.transport(0, A)
    os.remove(os.path.join(where, "dstaddr"))
    os.mkdir(os.path.join(where, "dstaddr"))
    open(os.path.join(sunrpc.top, "switch-9"), "w", encoding="ascii").close()
    assert stat.S_ISREG(os.stat(os.path.join(sunrpc.top, "switch-9")).st_mode)
    assert check(sunrpc) == ()
