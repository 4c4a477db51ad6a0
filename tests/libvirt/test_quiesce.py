"""`snapshot create --quiesce` with a real libvirtd and QEMU; in place of a guest's agent, a peer that speaks its protocol.

No guest with an agent runs here.  So the channel is one that libvirt and QEMU connect to, and the peer listens there; and QEMU is told that
the port is a console, which counts as open while no driver in a guest has opened it: otherwise libvirt would not ask the agent anything.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import pytest

from tests.libvirt import tree
from tests.libvirt.kvmhost import DOMAIN, wait
from tests.libvirt.test_restore import site  # noqa: F401

EMULATOR = '#!/bin/bash\nexec /usr/bin/qemu-system-x86_64 "${@//virtserialport/virtconsole}"\n'
CHANNEL = ("<channel type='unix'><source mode='connect' path='/shared/agent.sock'/>"
           "<target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices>")


class Agent:
    """Answers like qemu-ga; `frozen`: whether the guest is, `orders`: what it was told, `deaf`: orders that it does not answer."""

    def __init__(self, path):
        self.frozen, self.orders, self.deaf = False, [], set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.open = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        rest = b""
        while True:
            try:
                data = connection.recv(65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in filter(None, (line.strip(b"\xff \r") for line in lines)):
                    self._obey(connection, json.loads(line))
            except OSError:
                return

    def _obey(self, connection, asked):
        order = asked["execute"]
        self.orders.append(order)
        if order in self.deaf:
            return
        if order.startswith("guest-fsfreeze-") and order != "guest-fsfreeze-status":
            self.frozen = order.endswith("freeze")
        answers = {"guest-sync": asked.get("arguments", {}).get("id"), "guest-sync-delimited": asked.get("arguments", {}).get("id"),
                   "guest-fsfreeze-freeze": 2, "guest-fsfreeze-thaw": 2, "guest-fsfreeze-status": "frozen" if self.frozen else "thawed"}
        said = {"return": answers[order]} if order in answers else {"error": {"class": "CommandNotFound", "desc": f"no {order}"}}
        connection.sendall((b"\xff" if order == "guest-sync-delimited" else b"") + json.dumps(said).encode() + b"\n")

    def close(self):
        for one in self.open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


@pytest.fixture
def quiet(site):  # noqa: F811
    """The site of the restores, its VM with an agent and running; (site, agent)."""
    agent = Agent(str(site.host.shared / "agent.sock"))
    site.host.put("/usr/local/bin/qemu", EMULATOR, 0o755)
    text = DOMAIN.format(name="g", uuid=site.uuid, kind="file", source=f"file='{site.image}'")
    text = text.replace("/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu").replace("</devices>", CHANNEL)
    site.host.put("/root/g.xml", text)
    site.host.virsh("define", "/root/g.xml")
    site.host.virsh("start", "g")
    yield site, agent
    agent.close()


def create(site, *more):  # noqa: F811
    return site.run("create", "g", "--quiesce", *more)


def test_frozen_while_the_snapshot_is_taken_and_thawed_after_it(quiet):
    site, agent = quiet  # noqa: F811
    seen = []
    site.array.observers.append(lambda exchange: seen.append(agent.frozen) if exchange.request.method == "POST" else None)
    done = create(site)
    assert done.returncode == 0 and "2 file systems are frozen" in done.stderr, done.stderr
    assert seen == [True] and not agent.frozen and len(site.snapshots()) == 2 and not site.left()


def test_an_agent_that_does_not_answer_is_a_refusal_and_not_a_snapshot(quiet):
    site, agent = quiet  # noqa: F811
    agent.deaf.update(("guest-sync", "guest-sync-delimited"))
    done = create(site)
    assert done.returncode == 1 and "its guest agent did not freeze" in done.stderr and len(site.snapshots()) == 1 and not agent.frozen


def test_a_guest_that_does_not_thaw_is_told_loudly_and_tidied_later(quiet):
    site, agent = quiet  # noqa: F811
    agent.deaf.add("guest-fsfreeze-thaw")
    done = create(site)
    assert "VM g IS STILL FROZEN" in done.stderr and "virsh domfsthaw g" in done.stderr and agent.frozen
    assert done.returncode == 1 and len(site.left()) == 2 and site.plain("tidy").returncode == 1
    agent.deaf.clear()
    done = site.plain("tidy")
    assert done.returncode == 0 and "VM g is thawed" in done.stderr and not agent.frozen and not site.left()


@pytest.mark.parametrize("both", [False, True])
def test_killed_in_between_it_thaws(quiet, both):
    """The freezer thaws when whoever started it dies; where both die, tidy does."""
    site, agent = quiet  # noqa: F811
    fault = site.array.faults.add("silent", "POST", "*/snapshots")
    command = site.command("create", "g", "--quiesce")
    with subprocess.Popen(command, cwd=tree.ROOT, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        wait(lambda: agent.frozen and fault.hits, 60)
        children = [int(one) for one in pathlib.Path(f"/proc/{it.pid}/task/{it.pid}/children").read_text().split()]
        if both:
            for child in children:
                os.kill(child, signal.SIGKILL)
        it.kill()
    if both:
        assert agent.frozen and site.plain("tidy").returncode == 0
    wait(lambda: not agent.frozen, 30)
    site.array.faults.clear(fault.number)
    if not both:
        assert site.plain("tidy").returncode == 0
    assert not site.left()


def test_without_an_agent(site):  # noqa: F811
    site.host.virsh("start", "g")
    done = create(site)
    assert done.returncode == 1 and "did not freeze" in done.stderr and "agent" in done.stderr and len(site.snapshots()) == 1
    site.host.virsh("destroy", "g")
    assert "there is nothing to freeze" in create(site).stderr
