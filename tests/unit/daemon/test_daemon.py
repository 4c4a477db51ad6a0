"""kvmontapd as a process: by hand and by a socket handed over, notifications, signals, callers of every kind."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from kvmontap.gate import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PYTHON = "/usr/bin/python3"
CONF = """[pools]
[[p1]]
protocol = nfs
server = 192.0.2.1
export = /p1
target = /mnt/kvmontap-test
[snapshots]
before = none
"""
XML = b"<domain><name>vm1</name><devices><disk><source file='/mnt/kvmontap-test/a'/><target dev='vda'/></disk></devices></domain>"
MISSING = "refuse\nkvmontap refuses to start VM vm1: pool p1 (disk vda): /mnt/kvmontap-test is not mounted"


def until(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)


class Daemon:
    """One kvmontapd."""

    def __init__(self, tmp_path, *prefix, **env):
        self.socket, self.conf, self.log_file = str(tmp_path / "run/sock"), tmp_path / "conf", tmp_path / "log"
        if not self.conf.exists():
            self.conf.write_text(CONF)
        self.env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "KVMONTAP_CONF": str(self.conf), "KVMONTAP_SOCKET": self.socket, **env}
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([*prefix, PYTHON, "-m", "kvmontap.daemon"], env=self.env, stdin=subprocess.DEVNULL, stderr=log)

    def __enter__(self):
        until(lambda: os.path.exists(self.socket) or self.process.poll() is not None)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def log(self):
        return self.log_file.read_text()

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        until(lambda: connection.connect_ex(self.socket) == 0)
        return connection

    def ask(self, data=None):
        with self.connect() as connection:
            connection.sendall(data if data is not None else wire.request("vm1", "prepare", "begin", "-", 10, XML))
            connection.shutdown(socket.SHUT_WR)
            return read(connection)


def read(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data.decode()


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path) as made:
        yield made


def verdict(said):
    return "\n".join(line for line in said.split("\n") if not line.startswith("wait "))


def test_a_verdict_is_announced_first(daemon):
    said = daemon.ask()
    assert said.startswith("wait 2.000\nwait 5.") and verdict(said).startswith(MISSING)
    assert os.stat(daemon.socket).st_mode & 0o777 == 0o600
    until(lambda: "KVMONTAP_CODE=mount.missing" in daemon.log())


def test_metrics_are_written_at_once_and_a_directory_that_is_away_is_told_once(tmp_path):
    (tmp_path / "conf").write_text(f"{CONF}[metrics]\ntextfile-directory = {tmp_path}/prom\n")
    with Daemon(tmp_path) as daemon:
        until(lambda: f"the metrics cannot be written to {tmp_path}/prom: No such file or directory" in daemon.log())
    (tmp_path / "prom").mkdir()
    with Daemon(tmp_path):
        until((tmp_path / "prom/kvmontap.prom").exists)
    said = (tmp_path / "prom/kvmontap.prom").read_text()
    assert 'kvmontap_pool_health{pool="p1",health="failed"} 1\n' in said
    assert 'kvmontap_pool_finding{pool="p1",code="mount.missing",health="failed"} 1\n' in said


def test_other_operations_are_allowed_unread(daemon):
    assert verdict(daemon.ask(wire.request("vm1", "reconnect", "begin", "-", 1, XML))) == "allow\n"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"GET / HTTP/1.1\r\n\r\n", b"kvmontap 2\na\nprepare\nbegin\n-\n1\n\n<x/>", b"\0" * 100000])
def test_what_is_no_request_has_no_answer(daemon, data):
    assert daemon.ask(data) == ""
    assert verdict(daemon.ask()).startswith(MISSING)


def test_a_request_without_end_is_cut_off(daemon):
    with daemon.connect() as connection:
        with pytest.raises(OSError):
            for _ in range(40):
                connection.sendall(b"x" * (1 << 20))
    until(lambda: "larger than" in daemon.log())


def test_a_caller_that_says_nothing_is_left_and_holds_nobody_up(daemon):
    with daemon.connect() as silent:
        assert verdict(daemon.ask()).startswith(MISSING)
        assert silent.recv(1) == b""


def test_many_at_once(daemon):
    said = []
    threads = [threading.Thread(target=lambda: said.append(verdict(daemon.ask()))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 100 and all(one.startswith(MISSING) for one in said)


def test_the_configuration_is_read_when_it_changes(daemon):
    assert verdict(daemon.ask()).startswith("refuse")
    daemon.conf.write_text(CONF.replace("nfs", "nsf"))
    # What was sound is kept as it was.
    assert verdict(daemon.ask()).startswith(MISSING)
    daemon.conf.write_text(CONF + "[gate]\nmode = warn\n")
    assert verdict(daemon.ask()) == "allow\n"
    daemon.conf.unlink()
    assert verdict(daemon.ask()) == "allow\n"


def test_sighup_reads_it_too(daemon):
    daemon.ask()
    lines = daemon.log().count("1 pool")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.log().count("1 pool") == lines + 1)
    assert verdict(daemon.ask()).startswith(MISSING)


def test_sigterm_ends_it_in_good_order(daemon):
    daemon.ask()
    daemon.process.terminate()
    assert daemon.process.wait(10) == 0


def test_sigterm_lets_a_verdict_under_way_be_told(daemon):
    connection = daemon.connect()
    request = wire.request("vm1", "prepare", "begin", "-", 10, XML)
    connection.sendall(request[:50])
    daemon.ask()  # connections are accepted in their order, so ours has been
    daemon.process.terminate()
    until(lambda: refused(daemon.socket))
    connection.sendall(request[50:])
    connection.shutdown(socket.SHUT_WR)
    assert verdict(read(connection)).startswith(MISSING)
    connection.close()
    assert daemon.process.wait(10) == 0


def refused(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) != 0


def test_a_second_one_does_not_take_the_socket_away(daemon, tmp_path):
    done = subprocess.run([PYTHON, "-m", "kvmontap.daemon"], env=daemon.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "somebody answers there" in done.stderr and done.stderr.count("\n") == 1
    assert verdict(daemon.ask()).startswith(MISSING)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path):
    with Daemon(tmp_path) as first:
        first.process.kill()
    with Daemon(tmp_path) as second:
        assert verdict(second.ask()).startswith(MISSING)


def test_by_systemds_socket_with_notifications_and_watchdog(tmp_path):
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        activate = ["systemd-socket-activate", "-l", str(tmp_path / "run/sock"), "-E", "PYTHONPATH", "-E", "KVMONTAP_CONF",
                    "-E", "KVMONTAP_SOCKET", "-E", "NOTIFY_SOCKET", "-E", "WATCHDOG_USEC"]  # fmt: skip
        with Daemon(tmp_path, *activate, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000") as daemon:
            assert verdict(daemon.ask()).startswith(MISSING)
            for word in (b"STATUS=1 pool", b"READY=1"):
                assert manager.recv(4096) == word
            said = set()  # the watchdog's and the keeper's threads take turns as they like
            until(lambda: said.add(manager.recv(4096)) or {b"WATCHDOG=1", b"STATUS=1 pool: 1 failed; p1 mount.missing"} <= said)
            until(lambda: manager.recv(4096) == b"WATCHDOG=1")
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
            until(lambda: manager.recv(4096) == b"READY=1")
            daemon.process.terminate()
            until(lambda: manager.recv(4096) == b"STOPPING=1")
            assert daemon.process.wait(10) == 0
