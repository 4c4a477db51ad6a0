"""The installed generator on an installed-like host: its own /etc, the package in place, everything else read-only.

From systemd 253 on that is how PID 1 runs generators.  Needs mount namespaces, of root or of a user.
"""

import os
import subprocess

from tests.golden.bundles import ROOT

PYTHON = "/usr/bin/python3"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nlibvirt-qemu:x:64055:106:Libvirt Qemu,,,:/var/lib/libvirt:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nkvm:x:106:\nlibvirt-qemu:x:64055:libvirt-qemu\n"

# $1 root, $2 checkout, $3 prepared /etc, $4 output, $5 umask, $6 how often at once
SCRIPT = r"""
set -e
root=$1 tree=$2 etc=$3 out=$4
mount --make-rprivate /
mount --rbind / "$root"
mount -t tmpfs none "$root/run"
mkdir -p "$root/run/out" "$root/run/tree"
mount --bind "$out" "$root/run/out"
mount --bind "$tree" "$root/run/tree"
mount --bind "$etc" "$root/etc"
mount -t tmpfs none "$root/usr/local"
packages=$root/usr/local/lib/python$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')/dist-packages
mkdir -p "$packages"
ln -s /run/tree/kvmontap "$packages/kvmontap"
for place in "$root" "$root/etc" "$root/usr/local" "$root/run/tree"; do mount -o remount,bind,ro "$place"; done
umask "$5"
! touch "$root/usr/x" "$root/etc/x" "$root/run/tree/x" 2>/dev/null
exec chroot "$root" /bin/sh -c '
  i=0; while [ $i -lt '"$6"' ]; do
    /run/tree/generators/kvmontap-generator /run/out /run/out.early /run/out.late & pids="$pids $!"; i=$((i+1))
  done
  code=0; for pid in $pids; do wait $pid || code=$?; done; exit $code'
"""


def cannot():
    """Why no sandbox can be made here, "" where it can."""
    done = subprocess.run(_unshare() + ["mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"mount namespaces cannot be made here: {done.stderr.strip()}"


def _unshare():
    return ["unshare", "--mount", "--net", "--ipc"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])


def generate(tmp_path, conf, umask="022", times=1):
    """(exit code, output directory) of the generator for the configuration file `conf`; None = there is none."""
    etc, root, out = tmp_path / "etc", tmp_path / "root", tmp_path / "out"
    for directory in (etc, root, out):
        directory.mkdir(mode=0o755)
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    if conf is not None:
        (etc / "kvmontap.conf").write_bytes(conf)
    done = subprocess.run(
        _unshare() + ["/bin/sh", "-c", SCRIPT, "sandbox", str(root), ROOT, str(etc), str(out), umask, str(times)],
        capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
    )
    assert done.stdout == "" and done.stderr == "", done.stdout + done.stderr
    return done.returncode, out
