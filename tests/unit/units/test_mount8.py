"""The installed helper under the real mount(8), in a private mount namespace with an overlay over /usr/sbin."""

import os
import subprocess

import pytest

from tests.unit.units.nfsstand import Stand, free_port, listening

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SCRIPT = r"""
set -e
place=$1 tree=$2; shift 2
mount --make-rprivate /
mount -t tmpfs none "$place/over"
mkdir "$place/over/upper" "$place/over/work"
mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$place/over/upper,workdir=$place/over/work" /usr/sbin
mount -t tmpfs none /usr/local
packages=/usr/local/lib/python$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')/dist-packages
mkdir -p "$packages"
ln -s "$tree/kvmontap" "$packages/kvmontap"
cp "$tree/packaging/bin/mount.kvmontap-nfs" /usr/sbin/
cp "$place/mount.nfs" /usr/sbin/mount.nfs
"$@"
echo "exit $?"
grep "$place/mnt" /proc/self/mountinfo || true
"""


def cannot():
    if os.geteuid() != 0:
        return "an overlay over /usr/sbin needs root"
    if not os.path.samefile("/sbin", "/usr/sbin"):
        return "this host has no merged /usr"
    return ""


pytestmark = pytest.mark.skipif(bool(cannot()), reason=cannot())


@pytest.fixture
def stand(tmp_path):
    stand = Stand(tmp_path, mounting=True)
    (tmp_path / "over").mkdir()
    return stand


def run(stand, *command):
    done = subprocess.run(["unshare", "--mount", "/bin/sh", "-c", SCRIPT, "mount8", str(stand.directory), ROOT, *command],
                          capture_output=True, text=True, check=False, timeout=60)
    return done.stdout, done.stderr


def test_mount_calls_it(stand):
    port = free_port()
    with listening("127.11.0.2", port):
        out, err = run(stand, "mount", "127.11.0.1,127.11.0.2:/a b", stand.target, "-t", "kvmontap-nfs", "-o",
                       f"kvmontap-wait=20,vers=4.1,port={port},hard,_netdev")
    assert out.startswith("exit 0\n") and f" {stand.target} " in out, out + err
    assert stand.calls()[0].startswith(f"127.11.0.2:/a b {stand.target} ")
    options = stand.calls()[0].rpartition(" -o ")[2].split(",")
    assert {"vers=4.1", "hard", "retry=0"} <= set(options) and "kvmontap" not in stand.calls()[0]


def test_its_sentence_and_its_exit_code_arrive(stand):
    options = f"port={free_port()},kvmontap-wait=1"
    out, err = run(stand, "sh", "-c", f"mount 127.11.0.1:/a {stand.target} -t kvmontap-nfs -o {options} || echo $?")
    assert out == "32\nexit 0\n"
    assert "no address answers on TCP port" in err and "Traceback" not in err


def test_a_fake_mount(stand):
    out, err = run(stand, "mount", "-f", "-v", "127.11.0.1:/a", stand.target, "-t", "kvmontap-nfs")
    assert out.rpartition("exit ")[2] == "0\n" and stand.calls() == [], out + err
