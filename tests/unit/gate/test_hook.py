"""kvmontap.hook as a process: what it loads, what it says, and how it takes daemons that are not what they should be."""

import os
import socket
import subprocess
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PYTHON = "/usr/bin/python3"
SHIM = os.path.join(ROOT, "hooks/qemu")
CONF = """[pools]
[[p1]]
protocol = nfs
server = 192.0.2.1
export = /p1
target = {}
[snapshots]
before = none
"""
XML = "<domain><name>vm1</name><devices><disk type='file'><source file='{}/a.img'/><target dev='vda'/></disk></devices></domain>"
# What an interpreter has loaded anyway, with -I, differs; these are what we add to it.
MAY_LOAD = {"kvmontap", "kvmontap.hook", "kvmontap.gate", "kvmontap.gate.wire", "time", "_socket"}


class Bench:
    """The hook with a socket and a configuration of its own."""

    def __init__(self, tmp_path):
        self.socket = str(tmp_path / "sock")
        self.target = str(tmp_path / "pool")
        self.conf = tmp_path / "conf"
        self.conf.write_text(CONF.format(self.target))
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "KVMONTAP_CONF": str(self.conf), "KVMONTAP_SOCKET": self.socket}

    def run(self, *argv, xml=None, command=(PYTHON, "-m", "kvmontap.hook"), **env):
        text = XML.format(self.target) if xml is None else xml
        return subprocess.run([*command, *argv], input=text, env={**self.env, **env}, capture_output=True, text=True, check=False, cwd="/")

    def ask(self, **env):
        return self.run("vm1", "prepare", "begin", "-", **env)

    def serve(self, answer):
        """A daemon that does answer(connection) with whoever comes first."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.socket)
        listener.listen()

        def one():
            with listener, listener.accept()[0] as connection:
                answer(connection)

        thread = threading.Thread(target=one)
        thread.start()
        return thread


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def read(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def test_what_it_loads(bench):
    thread = bench.serve(lambda connection: (read(connection), connection.sendall(b"wait 1.0\nrefuse\nno")))
    code = ("import sys; before = set(sys.modules); sys.path.insert(0, sys.argv.pop()); from kvmontap import hook; "
            "status = hook.run(sys.argv[1:]); print(sorted(set(sys.modules) - before), status)")  # fmt: skip
    done = bench.run("vm1", "prepare", "begin", "-", ROOT, command=(PYTHON, "-I", "-c", code))
    thread.join()
    loaded, status = done.stdout.rsplit(" ", 1)
    assert status == "1\n" and done.stderr == "no\n"
    assert set(loaded.strip("[]").replace("'", "").split(", ")) <= MAY_LOAD, loaded


def test_the_request_and_the_refusal(bench):
    seen = []
    thread = bench.serve(lambda connection: (seen.append(read(connection)), connection.sendall(b"wait 1.0\nrefuse\nbecause\nof it")))
    done = bench.ask()
    thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "because of it\n")
    assert seen[0].startswith(b"kvmontap 1\nvm1\nprepare\nbegin\n-\n900.000\n\n<domain>")


@pytest.mark.parametrize("op", ["start", "started", "stopped", "release", "reconnect", "attach", "restore", "", "prepare "])
def test_other_operations_ask_nobody(bench, op):
    done = bench.run("vm1", op, "begin", "-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bench.run("vm1", op, "begin", "-", command=(SHIM,)).stdout == ""


@pytest.mark.parametrize("operation", [("restore", "begin"), ("prepare", "end"), ("migrate", "end"), ("reconnect", "begin"), ()])
def test_the_shim_ends_other_operations_by_itself(bench, operation):
    """The shell's own trace: no other command, not even a test of a file."""
    traced = bench.run("vm1", *operation, command=("/bin/sh", "-x", SHIM))
    assert (traced.returncode, traced.stdout, traced.stderr) == (0, "", "+ exit 0\n")
    assert "+ exec /usr/bin/python3 -I -c" in bench.run("vm1", "prepare", "begin", "-", command=("/bin/sh", "-x", SHIM)).stderr


BAD = {
    "dies at once": lambda connection: None,
    "dies in the middle": lambda connection: (read(connection), connection.sendall(b"wait 5.0\n")),
    "answers garbage": lambda connection: (read(connection), connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")),
    "answers half a word": lambda connection: (read(connection), connection.sendall(b"refu")),
    "announces nonsense": lambda connection: (read(connection), connection.sendall(b"wait nan\nallow\n")),
    "talks too much": lambda connection: (read(connection), connection.sendall(b"wait 1.0\n" * 20000)),
}


@pytest.mark.parametrize("how", list(BAD))
def test_a_bad_daemon_is_as_good_as_none(bench, how):
    def answer(connection):
        try:
            BAD[how](connection)
        except OSError:
            pass  # the hook has had enough

    thread = bench.serve(answer)
    done = bench.ask()
    thread.join()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("kvmontap refuses to start VM vm1: pool p1 (disk vda): ") and done.stderr.endswith("[mount.missing]\n")


@pytest.mark.parametrize("first, least, most", [(b"", 4.0, 7.0), (b"wait 0.5\n", 0.9, 4.0)])
def test_a_silent_daemon_is_given_up(bench, first, least, most):
    """Four seconds without a word, or what it announced and 0.4 s."""
    gone = threading.Event()
    thread = bench.serve(lambda connection: (read(connection), connection.sendall(first), gone.wait(30)))
    start = time.monotonic()
    done = bench.ask()
    took = time.monotonic() - start
    gone.set()
    thread.join()
    assert done.stderr.endswith("[mount.missing]\n") and least <= took <= most


def test_no_daemon_and_no_socket(bench):
    assert bench.ask().stderr.endswith("[mount.missing]\n")
    open(bench.socket, "w").close()
    assert bench.ask().stderr.endswith("[mount.missing]\n")


def test_with_a_configuration_of_its_own_it_asks_no_running_daemon(bench):
    """The daemon behind the usual socket has read another file."""
    del bench.env["KVMONTAP_SOCKET"]
    assert bench.ask().stderr.endswith("[mount.missing]\n")


@pytest.mark.parametrize("text", ["", "nonsense", "[pools", "\udcff\0"])
def test_without_a_usable_configuration_everything_passes(bench, text):
    bench.conf.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = bench.ask()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    bench.conf.unlink()
    assert bench.ask().returncode == 0


def test_usage(bench):
    done = bench.run("vm1", "prepare")
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and done.stdout == ""


def test_nothing_that_hangs_keeps_libvirts_pipes(tmp_path, fuse):
    """A probe of a mount that never answers outlives the hook; libvirt, which waits for the end of our pipes, does not notice.

    The hook sees the real mount table, in which the silent file system is no NFS; so the question that hangs is qemu-img's.
    """
    bench = Bench(tmp_path)
    conf = bench.conf.read_text()
    bench.conf.write_text(conf.replace(bench.target, fuse.target) + "[gate]\ntimeout = 1\n")
    fuse.tell("silent")
    start = time.monotonic()
    done = bench.run("vm1", "prepare", "begin", "-", xml=XML.format(fuse.target))
    took = time.monotonic() - start
    fuse.tell("answer")
    assert done.returncode == 1 and "holds a fuse file system instead of nfs" in done.stderr
    assert took < 1 + 0.5 + 1.5, took
