"""What must not be lost whatever state we are in: running VMs, saved VMs, stdout."""

import os

import pytest

from tests.libvirt.kvmhost import CONF, PYTHON_DIR, wait

SAVED = "/var/lib/libvirt/qemu/save/g.save"


def daemon_dead(host):
    """Its socket is still there, nobody answers."""
    host.start_daemon()
    host.stop_daemon("KILL")


def daemon_stopped(host):
    """It is there, and silent."""
    host.start_daemon()
    host.run("kill", "-STOP", host.path("/run/kvmontapd.pid").read_text().strip())


def configuration_broken(host):
    host.path(CONF).write_bytes(b"\0\xff[pools\n" * 100)


def configuration_gone(host):
    host.path(CONF).unlink()


def modules_gone(host):
    host.run("rm", "-r", f"/{PYTHON_DIR}/kvmontap")


def module_broken(host):
    """What a power cut leaves of a file that was being written."""
    host.put(f"/{PYTHON_DIR}/kvmontap/gate/verdict.py", "def judge(\0")


def hook_broken(host):
    host.put(f"/{PYTHON_DIR}/kvmontap/hook.py", "def main(:\n")


def python_gone(host):
    host.path("/usr/bin/python3").rename(host.path("/usr/bin/python3.away"))


def libraries_gone(host):
    host.run("rm", "-r", "/usr/lib/kvmontap/vendor")


FAILURES = [
    daemon_dead, daemon_stopped, configuration_broken, configuration_gone, modules_gone, module_broken, hook_broken, python_gone,
    libraries_gone,
]  # fmt: skip


@pytest.fixture
def running(host, configure):
    """A VM with a disk on a pool of ours, running."""
    configure(host, mode="warn", snapshots="before = none")
    host.define("g", host.image("/mnt/kvmnfs01/g.img"))
    host.virsh("start", "g")
    return host


@pytest.mark.parametrize("failure", FAILURES)
def test_a_running_vm_survives_a_restart_of_libvirtd(running, failure):
    failure(running)
    running.forget_operations()
    running.restart_libvirt()
    # libvirtd answers before it has reconnected; domstate then waits until the hook is through.
    wait(lambda: running.operations() == ["g reconnect begin -"])
    assert running.state("g") == "running"


@pytest.mark.parametrize("failure", FAILURES)
def test_a_saved_vm_is_resumed_or_kept(running, failure):
    running.virsh("managedsave", "g")
    failure(running)
    started = running.virsh("start", "g", check=False)
    saved = running.path(SAVED).exists()
    assert (started.returncode, running.state("g"), saved) == (0, "running", False), started.stderr


def test_a_refusal_keeps_the_saved_vm(running, configure):
    running.virsh("managedsave", "g")
    configure(running, mode="enforce")
    running.forget_operations()
    refused = running.virsh("start", "g", check=False)
    assert "/mnt/kvmnfs01 is not mounted" in refused.stderr
    assert running.operations()[:2] == ["g restore begin -", "g prepare begin -"]
    assert (running.state("g"), running.path(SAVED).exists()) == ("shut off", True)
    configure(running, mode="warn")
    running.virsh("start", "g")
    assert (running.state("g"), running.path(SAVED).exists()) == ("running", False)


def test_a_refusal_keeps_a_saved_file(running, configure):
    running.virsh("save", "g", "/var/lib/g.save")
    configure(running, mode="enforce")
    refused = running.virsh("restore", "/var/lib/g.save", check=False)
    assert "/mnt/kvmnfs01 is not mounted" in refused.stderr
    assert running.path("/var/lib/g.save").exists()
    configure(running, mode="warn")
    running.virsh("restore", "/var/lib/g.save")
    assert running.state("g") == "running"


OPERATIONS = [
    ("prepare", "begin"), ("start", "begin"), ("started", "begin"), ("stopped", "end"), ("release", "end"), ("reconnect", "begin"),
    ("attach", "begin"), ("migrate", "begin"), ("restore", "begin"), ("something", "new"),
]  # fmt: skip


@pytest.mark.parametrize("failure", [lambda host: None, lambda host: host.start_daemon(), *FAILURES])
def test_nothing_on_stdout_and_no_failure_but_where_it_decides(host, failure):
    failure(host)
    xml = "<domain><name>g</name><devices><disk type='file'><source file='/mnt/kvmnfs01/g.img'/></disk></devices></domain>"
    for operation, phase in OPERATIONS:
        for text in (xml, "<domain"):
            done = host.hook("g", operation, phase, "-", xml=text)
            assert done.stdout == "", (operation, text)
            if (operation, phase) not in (("prepare", "begin"), ("migrate", "begin")):
                assert (done.returncode, done.stderr) == (0, ""), (operation, text)
            assert done.returncode in (0, 1) and done.stderr.count("\n") == done.returncode


def test_a_hook_needs_no_environment_and_no_reader(host):
    """libvirt gives it little, and may have gone away before it ends."""
    done = host.run("env", "-i", "sh", "-c", "/etc/libvirt/hooks/qemu.d/50-kvmontap g prepare begin - <&- >&- 2>&-", check=False)
    assert done.returncode == 0
    assert os.path.exists(host.path("/run/up"))
