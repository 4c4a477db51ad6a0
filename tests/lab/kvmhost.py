"""What tests and the demo do on a KVM host of the lab: install, configure, define guests, read the journal."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Optional

from . import array, guest
from .vm import VM, Result

CONF = "/etc/kvmontap.conf"
ONTAP = f"""\
[ontap]
    [[prod]]
    address = {array.ADDRESS}
    svm = {array.SVM}
    username = {array.USER}
    password-file = /etc/kvmontap/prod.password
    ca = /etc/kvmontap/prod-ca.pem
    timeout = 30
"""
NFS_POOL = """\
    [[kvmnfs01]]
    protocol = nfs
    server = 10.9.1.10, 10.9.2.10
    export = /kvmnfs01
    version = 4.2
    nconnect = 2
    trunking = yes
    ontap = prod
"""
SMB_POOL = """\
    [[kvmsmb01]]
    protocol = smb
    server = 10.9.1.10
    share = kvmsmb01
    credentials = /etc/kvmontap/smb.credentials
    max-channels = 4
    ontap = prod
"""


class KvmHost:
    """One host VM with libvirt."""

    def __init__(self, vm: VM) -> None:
        self.vm = vm
        self.run = vm.run

    def install(self, deb: Path) -> None:
        """dpkg -i; all dependencies are in the image, so anything left unconfigured is an error."""
        self.vm.put(deb, f"/root/{deb.name}")
        self.run(f"dpkg -i /root/{deb.name} && rm /root/{deb.name}", timeout=300)

    def secrets(self, ca: bytes) -> None:
        """The array's CA, the password file and the SMB credentials that the configuration names."""
        self.vm.put(ca, "/etc/kvmontap/prod-ca.pem")
        self.vm.put(array.PASSWORD + "\n", "/etc/kvmontap/prod.password", mode=0o600)
        self.vm.put(f"username={array.SMB_USER}\npassword={array.SMB_PASSWORD}\n",
                    "/etc/kvmontap/smb.credentials", mode=0o600)

    def configure(self, pools: str, policies: str = "", reload: bool = False) -> None:
        """Write /etc/kvmontap.conf: the lab's array, these pools, and further sections."""
        self.vm.put(f"{ONTAP}[pools]\n{pools}{policies}", CONF)
        if reload:
            self.run("systemctl daemon-reload", timeout=120)

    def define(self, name: str, source: str, pool: str = "", autostart: bool = False, kind: str = "file") -> None:
        """Define the tiny guest on an image, or with kind="block" a device, that is there already."""
        path = f"/root/{name}.xml"
        self.vm.put(guest.domain_xml(name, source, pool, kind), path)
        self.run(f"virsh -q define {path}" + (f" && virsh -q autostart {name}" if autostart else ""))

    def start(self, name: str, timeout: float = 180.0) -> Result:
        """virsh start; not checked, since a refusal is what many tests want."""
        return self.run(f"virsh -q start {shlex.quote(name)}", timeout=timeout, check=False)

    def hook(self, name: str) -> Result:
        """libvirt's hook of a start, run as libvirt runs it, without the start; `seconds` are the hook's own, on the host."""
        script = ("set -e; x=$(mktemp); virsh -q dumpxml --inactive {0} > $x; a=$(date +%s%N); rc=0; "
                  "/etc/libvirt/hooks/qemu.d/50-kvmontap {0} prepare begin - < $x 2> $x.err || rc=$?; "
                  "b=$(date +%s%N); cat $x.err >&2; rm -f $x $x.err; echo $rc $((b - a))").format(shlex.quote(name))
        said = self.run(script, timeout=90)
        rc, nanoseconds = said.out.split()
        return Result(int(rc), "", said.err, int(nanoseconds) / 1e9)

    def destroy(self, name: str) -> None:
        """Switch a guest off at once; fine when it is off."""
        self.run(f"virsh -q destroy {shlex.quote(name)} 2>/dev/null || "
                 f"virsh domstate {shlex.quote(name)} | grep -q 'shut off'")

    def state(self, name: str) -> str:
        """libvirt's word for a guest's state: "running", "shut off", ..."""
        return self.run(f"virsh domstate {shlex.quote(name)}").out.strip()

    def wait_guest_up(self, name: str, timeout: float = 120.0) -> None:
        """Wait until the guest's boot sector runs: from then on it obeys the power button."""
        self.vm.wait_for(f"test -s {guest.serial_log(name)}", timeout, f"{name} has booted")

    def mounted(self, target: str) -> str:
        """What is mounted at a path, "" for nothing. Reads /proc only, so it cannot hang."""
        found = ""
        for line in self.run("cat /proc/self/mounts").out.splitlines():
            what, where, kind = line.split()[:3]
            if where == target and kind != "autofs":
                found = what
        return found

    def mark(self) -> str:
        """The journal's end, for `journal`."""
        said = self.run("journalctl -q -n 0 --show-cursor").out
        return said.rpartition("-- cursor: ")[2].strip()

    def journal(self, since: str = "", unit: str = "") -> str:
        """Messages after a `mark` (or of this boot)."""
        words = ["journalctl", "-q", "-o", "cat", "--no-pager"]
        words += ["--after-cursor", since] if since else ["-b"]
        words += ["-u", unit] if unit else []
        return self.run(shlex.join(words)).out

    def codes(self, since: str, name: str) -> set[str]:
        """Codes of what kvmontapd has said of a VM in the journal after a `mark`: its structured fields."""
        said = self.run(f"journalctl -q -o json --no-pager -u kvmontapd --after-cursor {shlex.quote(since)}").out
        lines = [json.loads(line) for line in said.splitlines()]
        return {line["KVMONTAP_CODE"] for line in lines if line.get("KVMONTAP_CODE") and line.get("KVMONTAP_DOMAIN") == name}

    def transports(self) -> list[str]:
        """Destination address of every NFS transport of the kernel, main clients only, sorted."""
        said = self.run("cd /sys/kernel/sunrpc/xprt-switches && for x in */xprt-*-tcp; do [ -e $x ] && "
                        "grep -q . $x/dstaddr && cat $x/dstaddr; done", check=False)
        return sorted(said.out.split())


def wait_pool(host: KvmHost, name: str, timeout: float = 120.0, what: Optional[str] = None) -> None:
    """Wait until libvirt shows a pool as active."""
    host.vm.wait_for(f"virsh -q pool-info {shlex.quote(name)} | grep -q 'State: *running'", timeout,
                     what or f"pool {name} is active in libvirt")
