"""Secrets of every kind are planted, everything that uses them runs or fails, and then they are looked for everywhere."""

CONF = """[ontap]
[[prod]]
address = 192.0.2.50
username = kvmontap
password-file = /etc/kvmontap/prod.password
timeout = 2
[[other]]
address = 192.0.2.51
token-file = /etc/kvmontap/other.token
timeout = 2
[[third]]
address = 192.0.2.52
username = kvmontap
password-file = third.password
timeout = 2
[pools]
[[nfs01]]
protocol = nfs
server = 192.0.2.1
export = /nfs01
ontap = prod
[[nfs02]]
protocol = nfs
server = 192.0.2.1
export = /nfs02
ontap = other
[[nfs03]]
protocol = nfs
server = 192.0.2.1
export = /nfs03
ontap = third
[[smb01]]
protocol = smb
server = 192.0.2.1
share = smb01
credentials = /etc/kvmontap/smb01
[[iscsi01]]
protocol = iscsi
portals = 192.0.2.1
wwid = 3600a098038314c57312b58387638574f
filesystem = xfs
chap-file = /etc/kvmontap/chap
[gate]
timeout = 2
"""
PLANTED = {
    "/etc/kvmontap/prod.password": "planted-password-quokka\n",
    "/etc/kvmontap/other.token": "planted.token-quokka\n",
    "/etc/kvmontap/smb01": "username=kvm\npassword=planted-smb-quokka\n",
    "/etc/kvmontap/chap": "username=kvm\npassword=planted-chap-quokka\nusername-in=array\npassword-in=planted-mutual-quokka\n",
    "/root/third": "planted-credential-quokka\n",
}
MARK = "quokka"
# As an administrator gives a service a systemd credential; third.password of the configuration is its name.
CREDENTIAL = "[Service]\nLoadCredential=third.password:/root/third\n"
SOCKET = "/run/kvmontap/kvmontapd.sock"
HOOK = "/etc/libvirt/hooks/qemu.d/50-kvmontap"
XML = "<domain type='kvm'><name>vm{0}</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-00000000000{0}</uuid><devices><disk type='file'>" \
      "<source file='/mnt/nfs0{0}/vm.img'/><target dev='vda'/></disk></devices></domain>"  # fmt: skip
# Everything that can be read: files with our mark, but for kernel file systems; and what processes show of themselves.
FILES = "find / /run /dev/shm -xdev -path /proc -prune -o -path /sys -prune -o -type f -size -8192k -print0 | xargs -0 grep -lF {0} || :"
PROCESSES = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"


def test_no_secret_shows_anywhere_while_everything_runs(host):
    host.write("/etc/kvmontap.conf", CONF)
    host.write("/etc/systemd/system/kvmontapd.service.d/credential.conf", CREDENTIAL)
    for path, text in PLANTED.items():
        host.write(path, text, 0o600)
    host.start(120)
    host.run("systemctl", "restart", "kvmontapd.service")
    for number in (1, 2, 3):
        host.run(HOOK, f"vm{number}", "prepare", "begin", "-", stdin=XML.format(number), check=False)
    for command in ("check", "status", "plan", "role", "snapshot list"):
        done = host.run("kvmontap", *command.split(), check=False)
        assert MARK not in done.stdout + done.stderr and "Traceback" not in done.stderr, command

    told = host.output("sh", "-c", "journalctl -a -o verbose --no-pager | LC_ALL=C tr -cd '\\11\\12\\40-\\176'")
    ours = "\n".join(line for line in told.splitlines() if "MESSAGE=" in line and ("pool" in line or "array" in line))
    assert "array.secret" not in ours, ours  # each was there to be read, the credential too
    for address in ("192.0.2.50", "192.0.2.51", "192.0.2.52"):
        assert address in ours, ours
    assert MARK not in told
    # systemd's copies of the credential are in directories that only root may enter.
    found = set(host.output("sh", "-c", FILES.format(MARK)).split()) - set(PLANTED)
    copies = {path for path in found if path.startswith(("/run/credentials/", "/run/systemd/"))}
    assert found - copies == set()
    for path in copies:
        done = host.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path, check=False)
        assert done.returncode != 0 and MARK not in done.stdout, path
    assert MARK not in host.output("sh", "-c", PROCESSES)
    assert MARK not in host.output("systemctl", "show", "kvmontap*", "kvmontapd.service", "*.mount")
    assert MARK not in host.output("cat", "/proc/mounts")


def test_nobody_but_root_reaches_the_daemon_and_nothing_of_it_is_dumped(host):
    host.write("/etc/kvmontap.conf", CONF)
    host.start(120)
    knock = f"import socket; socket.socket(socket.AF_UNIX).connect('{SOCKET}')"
    assert host.run("python3", "-c", knock, check=False).returncode == 0
    done = host.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", knock, check=False)
    assert "PermissionError" in done.stderr
    assert host.output("stat", "-c", "%U %a", SOCKET) == "root 600" and host.output("stat", "-c", "%U %a", "/etc/kvmontap") == "root 700"
    units = host.output("sh", "-c", "cd /usr/lib/systemd/system && grep -l '^ExecStart=/usr/bin/python3' kvmontap*.service").split()
    without = [unit for unit in units if f"{host.show(unit.replace('@.', '@x.'), 'LimitCORE')['LimitCORE']}" != "0"]
    assert len(units) > 5 and without == []
