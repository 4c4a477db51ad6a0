"""The same mounts as fstab lines through systemd's own fstab-generator: every difference is one that we want, and is listed here."""

import os
import subprocess

import pytest

from kvmontap.config import parse
from kvmontap.units import bundle

GENERATOR = next((path for path in ("/usr/lib/systemd/system-generators/systemd-fstab-generator",
                                    "/lib/systemd/system-generators/systemd-fstab-generator") if os.path.exists(path)), None)

LIBVIRT = {"libvirtd.service", "virtqemud.service", "virtstoraged.service", "libvirt-guests.service"}

# name: (our section, the fstab line that an administrator would write for it, what our options have besides)
PAIRS = {
    "plain": ("protocol = nfs\nserver = 172.21.35.11\nexport = /plain",
              "172.21.35.11:/plain /mnt/plain nfs vers=4.1,_netdev 0 0", {"sec=sys", "hard"}),
    "many": ("protocol = nfs\nserver = 172.21.35.12\nexport = /many\nversion = 4.2\nnconnect = 4\nsecurity = krb5p\noptions = noatime",
             "172.21.35.12:/many /mnt/many nfs vers=4.2,nconnect=4,sec=krb5p,noatime,_netdev 0 0", {"hard"}),
    "v3": ("protocol = nfs\nserver = 172.21.35.13\nexport = /v3\nversion = 3\noptions = nolock",
           "172.21.35.13:/v3 /mnt/v3 nfs vers=3,nolock,_netdev 0 0", {"sec=sys", "hard"}),
    "six": ("protocol = nfs\nserver = fd00::11\nexport = /six", "[fd00::11]:/six /mnt/six nfs vers=4.1,_netdev 0 0", {"sec=sys", "hard"}),
    "rdma": ("protocol = nfs\nserver = 172.21.35.14\nexport = /rdma\ntransport = rdma",
             "172.21.35.14:/rdma /mnt/rdma nfs vers=4.1,proto=rdma,port=20049,_netdev 0 0", {"sec=sys", "hard"}),
    "odd": ('protocol = nfs\nserver = 172.21.35.15\nexport = "/100% odd"\ntarget = "/mnt/100% odd"',
            "172.21.35.15:/100%\\040odd /mnt/100%\\040odd nfs vers=4.1,_netdev 0 0", {"sec=sys", "hard"}),
    "auto": ("protocol = nfs\nserver = 172.21.35.16\nexport = /auto\n[[[boot]]]\nmount = automount\nidle-timeout = 60",
             "172.21.35.16:/auto /mnt/auto nfs vers=4.1,_netdev,x-systemd.automount,x-systemd.idle-timeout=60 0 0", {"sec=sys", "hard"}),
    "manual": ("protocol = nfs\nserver = 172.21.35.17\nexport = /manual\n[[[boot]]]\nmount = manual",
               "172.21.35.17:/manual /mnt/manual nfs vers=4.1,_netdev,noauto 0 0", {"sec=sys", "hard"}),
    "smb": ("protocol = smb\nserver = kvmfs01.sddc.netapp.com\nshare = smb\ncredentials = /root/smbpass\nmax-channels = 8",
            "//kvmfs01.sddc.netapp.com/smb /mnt/smb cifs credentials=/root/smbpass,multichannel,max_channels=8,_netdev 0 0",
            {"vers=3", "hard", "nobrl"}),
}
# Words of fstab that its generator leaves in Options=, where they mean nothing.
FSTAB_ONLY = {"noauto", "x-systemd.automount", "x-systemd.idle-timeout=60"}


def settings(text):
    """{(section, key): value} of a unit file."""
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            assert (section, key) not in found, line
            found[section, key] = value
    return found


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    if not GENERATOR:
        pytest.skip("systemd-fstab-generator is not installed")
    place = tmp_path_factory.mktemp("fstab")
    (place / "fstab").write_text("".join(f"{line}\n" for _, line, _ in PAIRS.values()))
    (place / "out").mkdir()
    env = {"PATH": os.environ["PATH"], "SYSTEMD_LOG_TARGET": "console", "SYSTEMD_FSTAB": str(place / "fstab"), "SYSTEMD_SYSFS_CHECK": "no",
           "SYSTEMD_PROC_CMDLINE": "", "SYSTEMD_IN_INITRD": "0"}
    subprocess.run([GENERATOR, str(place / "out")], env=env, check=True, capture_output=True, timeout=60)
    return tree_of(place / "out")


def tree_of(directory):
    files, links = {}, {}
    for base, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            if os.path.islink(path):
                links[relative] = os.readlink(path)
            else:
                with open(path, encoding="utf-8") as stream:
                    files[relative] = stream.read()
    return files, links


@pytest.fixture(scope="module")
def ours():
    text = "[pools]\n" + "".join(f"[[{name}]]\n{section}\n" for name, (section, _, _) in PAIRS.items())
    loaded = parse(text, "/etc/kvmontap.conf")
    assert loaded.problems == ()
    found = bundle(loaded.config, loaded.problems)
    return found.files, found.links


def test_the_same_units(ours, theirs):
    assert set(ours[0]) == {path for path in theirs[0] if path.endswith("mount")}


@pytest.mark.parametrize("name", PAIRS)
def test_mount(name, ours, theirs):
    _, _, more = PAIRS[name]
    unit = next(path for path in ours[0] if path == f"mnt-{name}.mount" or (name == "odd" and path.startswith("mnt-100")))
    mine, other = settings(ours[0][unit]), settings(theirs[0][unit])

    # 1. Whose they are.
    for key in ("Description", "Documentation", "SourcePath"):
        mine.pop(("[Unit]", key))
        other.pop(("[Unit]", key), None)
    # 2. libvirt runs after the storage and stops before it.  fstab has no word for that.
    assert set(mine.pop(("[Unit]", "Before")).split()) - {"remote-fs.target"} == LIBVIRT
    # fstab's generator leaves the order before remote-fs.target to PID 1 where something else pulls the mount in.
    assert other.pop(("[Unit]", "Before"), "remote-fs.target") == "remote-fs.target"
    # 3. The text of the section is recorded when its unit starts; services that a mount needs are wanted, which an fstab line can say
    # only with x-systemd.requires=.
    assert set(mine.pop(("[Unit]", "Wants")).split()) - {"rpc-gssd.service"} == {"kvmontap-applied.service", "kvmontapd.service"}
    assert mine.pop(("[Unit]", "After"), None) == ("rpc-gssd.service" if "krb5" in PAIRS[name][0] else None)
    # 4. Boot goes on without a pool after [boot] timeout, not after the manager's default.
    assert mine.pop(("[Mount]", "TimeoutSec")) == "90"
    # 5. Options that make NFS and SMB fit for VM disks, or say aloud what a key of the section means.
    left, right = set(mine.pop(("[Mount]", "Options")).split(",")), set(other.pop(("[Mount]", "Options")).split(","))
    assert left - right == more
    assert right - left <= FSTAB_ONLY
    # Nothing else differs: What=, Where=, Type=.
    assert mine == other


def test_automount(ours, theirs):
    mine, other = settings(ours[0]["mnt-auto.automount"]), settings(theirs[0]["mnt-auto.automount"])
    for key in ("Description", "Documentation", "SourcePath"):
        mine.pop(("[Unit]", key))
        other.pop(("[Unit]", key), None)
    # An automount of a network file system that comes after the network, and before those that look into it: fstab's does neither, and its
    # default dependencies (before local-fs.target) would make a cycle of it.
    assert set(mine.pop(("[Unit]", "Before")).split()) == LIBVIRT | {"remote-fs.target", "umount.target"}
    assert mine.pop(("[Unit]", "DefaultDependencies")) == "no"
    assert mine.pop(("[Unit]", "Conflicts")) == "umount.target"
    assert mine.pop(("[Unit]", "After")) == mine.pop(("[Unit]", "Wants")) == "network-online.target"
    other.pop(("[Unit]", "Before"), None)
    # Sixty seconds, spelt differently.
    assert mine.pop(("[Automount]", "TimeoutIdleSec")) == "60"
    assert other.pop(("[Automount]", "TimeoutIdleSec")) in ("60", "1min")
    assert mine == other


def test_links(ours, theirs):
    """A pool that fails fails nothing else: wanted where fstab says required.  What is pulled in, is the same."""
    mine = {path.rpartition("/")[2]: path.rpartition("/")[0] for path in ours[1]}
    other = {path.rpartition("/")[2]: path.rpartition("/")[0] for path in theirs[1] if path.endswith("mount")}
    assert set(mine) == set(other)
    assert set(mine.values()) == {"remote-fs.target.wants"}
    assert set(other.values()) <= {"remote-fs.target.requires", "remote-fs.target.wants"}
