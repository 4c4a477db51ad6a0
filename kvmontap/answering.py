"""Which of several hosts answer on a TCP port, asked all at once and again and again.

mount.nfs needs up to three minutes to notice that an address is dead; a TCP handshake tells within a round trip.
Imports the standard library only.
"""

import socket
import threading
import time
from typing import Dict, Iterable, Tuple

# Where a protocol's storage answers a handshake, by the protocol's name in the configuration; discovery of NVMe has a port of its own.
PORTS = {"nfs": (2049,), "smb": (445,), "iscsi": (3260,), "nvme-tcp": (8009, 4420)}
ONE_TRY = 3.0  # seconds for one handshake: the first SYN and one repetition
PAUSE = 0.5  # between two tries


class Asking:
    """Questions to `hosts` that run until each has answered or `stop` is called.

    An answer stands: a host that has answered is not asked again."""

    def __init__(self, hosts: Iterable[str], port: int) -> None:
        self._hosts = tuple(hosts)
        self._port = port
        self._answered: Dict[str, str] = {}
        self._errors: Dict[str, str] = {}
        self._change = threading.Condition()
        self._stopped = threading.Event()
        for host in self._hosts:
            # Daemon threads: a name lookup that hangs must not keep this process.
            threading.Thread(target=self._ask, args=(host,), daemon=True).start()

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def answers(self, deadline: float, grace: float, every: bool = False) -> Tuple[str, ...]:
        """The hosts that answer, in their given order, at the latest at `deadline` (time.monotonic()); () when none does.

        After the first answer those before it (with `every`, all) have `grace` seconds more: the given order is a preference."""
        with self._change:
            self._change.wait_for(lambda: self._answered, max(0.0, deadline - time.monotonic()))
            if self._answered:
                wanted = self._hosts if every else self._hosts[:1]
                left = max(0.0, min(grace, deadline - time.monotonic()))
                self._change.wait_for(lambda: all(host in self._answered for host in wanted), left)
            return tuple(host for host in self._hosts if host in self._answered)

    def address(self, host: str) -> str:
        """The numeric address that answered for `host`, "" where none has."""
        with self._change:
            return self._answered.get(host, "")

    def failed(self, host: str) -> bool:
        """Whether `host` has been asked and has not answered so far."""
        with self._change:
            return host in self._errors and host not in self._answered

    def place(self, host: str) -> Tuple[str, int]:
        """Where `host` is asked: host and port."""
        return host, self._port

    def device(self, _host: str) -> str:
        """The network interface through which `host` is asked, "" = the routing decides."""
        return ""

    def error(self, host: str) -> str:
        """Why `host` has not answered yet."""
        with self._change:
            return self._errors.get(host, "no answer")

    def _ask(self, host: str) -> None:
        while not self._stopped.is_set():
            try:
                address = handshake(*self.place(host), ONE_TRY, self.device(host))
            except OSError as error:
                with self._change:
                    self._errors[host] = said(error)
            else:
                with self._change:
                    self._answered[host] = address
                    self._change.notify_all()
                return
            self._stopped.wait(PAUSE)


def handshake(host: str, port: int, timeout: float, device: str = "") -> str:
    """The numeric address of `host` that took a TCP connection on `port`, through the interface `device` if one is named; OSError where
    none did."""
    last = OSError("has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(timeout)
                if device:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                connection.connect(address)
                return str(address[0])
        except OSError as error:
            last = error
    raise last


def said(error: OSError) -> str:
    """An error of a connection in few words."""
    if isinstance(error, socket.timeout):
        return "no answer"
    return (error.strerror or str(error)).lower()
