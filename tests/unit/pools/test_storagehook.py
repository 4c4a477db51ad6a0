"""The storage hook as a process, on mounts of this machine."""

import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CONF = """[pools]
[[p1]]
protocol = nfs
server = 192.0.2.1
export = /p1
target = {}
"""
DIR = "<pool type='dir'><name>p1</name><target><path>{}</path></target></pool>"
NETFS = ("<pool type='netfs'><name>p1</name><source><host name='192.0.2.1'/><dir path='/p1'/><format type='nfs'/></source>"
         "<target><path>{}</path></target></pool>")  # fmt: skip
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def target(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "conf").write_text(CONF.format(tmp_path / "pool"), encoding="utf-8")
    return str(tmp_path / "pool")


@pytest.fixture
def foreign(target):
    """Something is mounted there that is not the pool's export."""
    subprocess.run(["mount", "-t", "tmpfs", "test", target], check=True)
    yield target
    subprocess.run(["umount", target], check=True)


def hook(target, text, op="started", subop="begin", name="p1"):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "KVMONTAP_CONF": os.path.join(os.path.dirname(target), "conf")}
    done = subprocess.run(["/usr/bin/python3", "-m", "kvmontap.pools.storagehook", name, op, subop, "-"], input=text, env=env,
                          capture_output=True, text=True, check=False, cwd="/")  # fmt: skip
    assert done.stdout == "" and done.stderr.count("\n") <= 1
    return done.returncode, done.stderr


@pytest.mark.parametrize("op", ["start", "started"])
def test_a_dir_pool_on_a_missing_mount_must_not_be_active(target, op):
    code, said = hook(target, DIR.format(target), op)
    assert code == 1 and f"{target} is not mounted" in said and "systemctl start" in said


def test_so_must_not_one_of_another_name_below_it(target):
    assert hook(target, DIR.format(target + "/isos"), name="isos")[0] == 1


def test_a_dir_pool_elsewhere_is_none_of_our_business(target):
    assert hook(target, DIR.format(target + "-other")) == (0, "")


@root
def test_a_dir_pool_on_a_foreign_mount_must_not_be_active(foreign):
    code, said = hook(foreign, DIR.format(foreign))
    assert code == 1 and "holds a tmpfs file system" in said


@root
def test_a_netfs_pool_on_a_foreign_mount_is_told_and_left_alone(foreign):
    code, said = hook(foreign, NETFS.format(foreign))
    assert code == 0 and "holds a tmpfs file system" in said and "left alone" in said
    assert os.path.ismount(foreign)


def test_a_netfs_pool_mounts_by_itself(target):
    assert hook(target, NETFS.format(target), "start") == (0, "")


@pytest.mark.parametrize(("op", "subop"), [("stopped", "end"), ("started", "end"), ("refresh", "begin"), ("stop", "begin")])
def test_other_operations_decide_nothing(target, op, subop):
    assert hook(target, DIR.format(target), op, subop) == (0, "")


def test_a_fault_of_ours_stops_no_pool(target):
    code, said = hook(target, "<pool")
    assert code == 0 and "was not checked" in said


def test_the_shim_asks_nobody_for_what_decides_nothing(target):
    shim = os.path.join(ROOT, "hooks/storage")
    done = subprocess.run([shim, "p1", "stopped", "end", "-"], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
