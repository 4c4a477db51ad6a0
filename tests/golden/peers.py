"""The units beside ours: libvirt's, the network's and NFS's as Debian ships them, around multi-user.target.

systemd-analyze sees an ordering cycle only from an anchor that pulls both of its ends in.
"""

import glob
import os
import re
import subprocess
import warnings

from tests.golden.bundles import ROOT

PACKAGES = ("libvirt-daemon-system", "libvirt-daemon-system-systemd", "libvirt-daemon", "libvirt-clients", "nfs-common", "ifupdown")
ENABLED = ("libvirtd.service", "virtqemud.service", "virtstoraged.service", "libvirt-guests.service", "networking.service",
           "systemd-networkd.service", "remote-fs.target", "nfs-client.target")
ONLINE = ("networking.service", "systemd-networkd-wait-online.service")
# Not in Debian 12: the daemons of a modular libvirt, and tlshd.
STAND_INS = {
    "virtqemud.service": "[Unit]\nAfter=network.target local-fs.target remote-fs.target virtlogd.socket\n[Service]\nExecStart=/bin/true\n",
    "virtstoraged.service": "[Unit]\nAfter=network.target local-fs.target remote-fs.target iscsi.service\n[Service]\nExecStart=/bin/true\n",
    "tlshd.service": "[Unit]\nDescription=Handshake service for kernel TLS consumers\nBefore=remote-fs-pre.target\n"
                     "[Service]\nType=simple\nExecStart=/bin/true\n",
    "dlm.service": "[Unit]\nAfter=network-online.target time-sync.target corosync.service sys-kernel-config.mount\n"
                   "[Service]\nType=notify\nExecStart=/bin/true\n",
}
# Where the packages cannot be had.
WITHOUT_PACKAGES = {
    "libvirtd.service": "[Unit]\nAfter=network.target local-fs.target remote-fs.target virt-guest-shutdown.target\n"
                        "[Service]\nExecStart=/bin/true\n",
    "libvirt-guests.service": "[Unit]\nWants=virt-guest-shutdown.target\nAfter=network.target time-sync.target\n"
                              "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
    "virt-guest-shutdown.target": "[Unit]\nDescription=Guests are down\n",
    "networking.service": "[Unit]\nDefaultDependencies=no\nWants=network.target\nAfter=local-fs.target network-pre.target\n"
                          "Before=network.target network-online.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    "nfs-client.target": "[Unit]\nBefore=remote-fs-pre.target\nWants=remote-fs-pre.target\n",
    "rpc-gssd.service": "[Unit]\nDefaultDependencies=no\nConflicts=umount.target\n[Service]\nType=forking\nExecStart=/bin/true\n",
}


def cache():
    return os.environ.get("KVMONTAP_CACHE") or "/var/cache/kvmontap"


def packaged():
    """{name: text} of the units in Debian's packages, which are fetched once; {} where that cannot be done."""
    place = os.path.join(cache(), "peer-units")
    if not glob.glob(f"{place}/*.service"):
        try:
            _fetch(place)
        except (OSError, subprocess.SubprocessError) as error:
            warnings.warn(f"libvirt's units cannot be fetched ({error}): stand-ins are used", stacklevel=1)
            return {}
    found = {}
    for path in glob.glob(f"{place}/*"):
        with open(path, encoding="utf-8") as stream:
            found[os.path.basename(path)] = stream.read()
    return found


def _fetch(place):
    os.makedirs(place, exist_ok=True)
    work = os.path.join(place, ".work")
    os.makedirs(work, exist_ok=True)
    for package in PACKAGES:
        subprocess.run(["apt-get", "-q", "download", package], cwd=work, check=True, capture_output=True, timeout=120)
    for deb in glob.glob(f"{work}/*.deb"):
        subprocess.run(["dpkg-deb", "-x", deb, f"{work}/x"], check=True, capture_output=True, timeout=120)
    for pattern in ("lib", "usr/lib"):
        for path in glob.glob(f"{work}/x/{pattern}/systemd/system/*"):
            if os.path.isfile(path) and not os.path.islink(path):
                os.replace(path, os.path.join(place, os.path.basename(path)))
    subprocess.run(["rm", "-rf", work], check=True)
    if not os.path.exists(os.path.join(place, "libvirtd.service")):
        raise OSError("libvirtd.service is in none of the packages")


def anchored(directory, files, links):
    """A unit directory with the bundle, our static units, the peers and the links that enable them."""
    peers = packaged() or WITHOUT_PACKAGES
    for name, body in {**STAND_INS, **peers}.items():
        # Programs of packages that are not installed here are no fault of a unit's.
        body = re.sub(r"^(Exec\w+)=.*(\\\n.*)*", r"\1=/bin/true", body, flags=re.MULTILINE)
        (directory / name).write_text(body, encoding="utf-8")
    for path in glob.glob(os.path.join(ROOT, "units", "*.service")):
        (directory / os.path.basename(path)).symlink_to(path)
    for path, body in files.items():
        target = directory / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(body, encoding="utf-8")
    for path, target in links.items():
        (directory / path).parent.mkdir(exist_ok=True)
        # The package's place is not there in a checkout.
        (directory / path).symlink_to(target if target.startswith("..") else directory / os.path.basename(target))
    for top, wanted in (("multi-user.target", ENABLED), ("network-online.target", ONLINE)):
        (directory / f"{top}.wants").mkdir(exist_ok=True)
        for name in wanted:
            (directory / f"{top}.wants" / name).symlink_to(f"../{name}")


def verify(directory, units):
    """What systemd-analyze says of `units`; "" when it is content."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *units],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{directory}:/usr/lib/systemd/system:/lib/systemd/system"},
        capture_output=True, text=True, check=False, timeout=120,
    )
    said = (done.stdout + done.stderr).strip()
    return said or ("" if done.returncode == 0 else f"exit {done.returncode}")
