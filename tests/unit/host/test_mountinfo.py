"""kvmontap.host.mountinfo: recorded lines, and random mounts of a namespace of its own against the kernel itself."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap.host import mountinfo
from kvmontap.host.mountinfo import Mount

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, "../../..")

# As Linux 6.12 shows them.
RECORDED = rb"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard,errors=remount-ro
29 21 0:26 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
60 21 0:50 / /mnt/kvmnfs01 rw,relatime shared:101 - autofs systemd-1 rw,fd=58,pgrp=1,timeout=60,minproto=5,direct,pipe_ino=5210
77 60 0:61 / /mnt/kvmnfs01 rw,relatime shared:120 master:3 propagate_from:2 - nfs4 172.21.35.11:/kvmnfs01 rw,vers=4.1,hard,\
proto=tcp,nconnect=4,timeo=600,retrans=2,sec=sys,clientaddr=172.21.35.21,local_lock=none,addr=172.21.35.11
78 21 0:62 / /mnt/with\040space\011and\134backslash\043 ro,relatime - cifs //kvmfs01/kvm\040smb01 rw,vers=3.1.1,addr=172.21.35.13
79 21 0:63 /sub /mnt/bound rw,relatime - nfs4 [fd00::1]:/vol ro,vers=4.2,addr=fd00::1
80 21 0:64 / /empty rw -  none rw
""".replace(b"hard,\\\n", b"hard,")


def test_recorded_lines():
    mounts = {mount.id: mount for mount in mountinfo.parse(RECORDED)}
    assert mounts[77].what == "172.21.35.11:/kvmnfs01" and mounts[77].fstype == "nfs4"
    assert mounts[77].option("addr") == "172.21.35.11" and mounts[77].option("add") == ""
    assert mounts[78].where == "/mnt/with space\tand\\backslash#" and mounts[78].what == "//kvmfs01/kvm smb01"
    assert mounts[78].read_only and mounts[79].read_only and not mounts[77].read_only
    assert mounts[79].root == "/sub" and mounts[79].what == "[fd00::1]:/vol"
    assert {mount.id for mount in mounts.values() if mount.remote} == {60, 77, 78, 79}


def test_the_last_of_stacked_mounts_counts():
    mounts = mountinfo.parse(RECORDED)
    assert mountinfo.at(mounts, "/mnt/kvmnfs01").id == 77
    without = tuple(mount for mount in mounts if mount.id != 77)
    assert mountinfo.at(without, "/mnt/kvmnfs01").fstype == "autofs"
    assert mountinfo.at(mounts, "/mnt/kvmnfs01/deeper") is None
    assert mountinfo.covering(mounts, "/mnt/kvmnfs01/deeper").id == 77
    assert mountinfo.covering(mounts, "/mnt/kvmnfs012").id == 21
    # The order of the listing is not the order of mounting since Linux 6.8 sorts it by id.
    assert mountinfo.at(tuple(reversed(mounts)), "/mnt/kvmnfs01").id == 77


def test_a_mount_that_a_later_one_further_up_hides_is_not_there():
    mounts = mountinfo.parse(RECORDED + b"90 21 0:70 / /mnt rw - tmpfs tmpfs rw\n")
    assert mountinfo.at(mounts, "/mnt/kvmnfs01") is None
    assert mountinfo.covering(mounts, "/mnt/kvmnfs01").id == 90


def test_this_machine():
    mounts = mountinfo.read()
    assert mountinfo.at(mounts, "/proc").fstype == "proc"
    assert mountinfo.covering(mounts, "/").where == "/"


def test_names_that_are_not_utf_8_are_told_as_python_tells_paths():
    (mount,) = mountinfo.parse(b"1 0 0:1 / /mnt/\xff rw - tmpfs t rw")
    assert os.fsencode(mount.where) == b"/mnt/\xff"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_agrees_about_random_mounts(tmp_path, seed):
    """Stacked, hidden, bound, detached and read-only mounts under names with every escape."""
    script = os.path.join(HERE, "private_mounts.py")
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, script, str(tmp_path), str(seed)],
        env={**os.environ, "PYTHONPATH": TREE, "PYTHONUTF8": "1"}, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(one["ours"][1] for one in seen) >= 2
    for one in seen:
        assert one["ours"] == one["kernel"], one
        assert one["read_only"][0] == one["read_only"][1], one


WORDS = st.sampled_from(rb"1 2 0:1 / /mnt /mnt/a\040b rw ro - nfs4 h:/x \ \9 \777".split(b" ") + [b"", b"\xff"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=14).map(b" ".join), max_size=8).map(b"\n".join) | st.binary(max_size=200))
def test_any_bytes_give_mounts_or_none(text):
    mounts = mountinfo.parse(text)
    assert all(isinstance(mount, Mount) for mount in mounts)
    for path in ("/", "/mnt", "/mnt/a b/c"):
        covering = mountinfo.covering(mounts, path)
        assert covering is None or mountinfo.is_below(path, covering.where)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from(["/", "/m", "/m/a", "/m/a/b"])), max_size=12))
def test_no_listing_makes_the_search_run_for_ever(rows):
    """Parents that form a circle, ids that occur twice: nothing the kernel prints, but it must end."""
    mounts = tuple(Mount(where, "x", "tmpfs", id=one, parent=other) for one, other, where in rows)
    mountinfo.covering(mounts, "/m/a/b/c")
