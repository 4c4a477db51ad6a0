"""The listener: TCP, TLS, HTTP/1.1, one thread per connection, all of them gone after stop().

What is answered, and how badly it is delivered, comes from `serve(Raw) -> Delivery`.
"""

from __future__ import annotations

import http.server
import io
import itertools
import select
import socket
import ssl
import struct
import threading
from typing import Any, Callable, NamedTuple, Optional

HANDSHAKE_SECONDS = 20
IDLE_SECONDS = 120
BODY_LIMIT = 1 << 20
_NUMBERS = itertools.count(1)


class Raw(NamedTuple):
    """A request as it came off the wire. `gone()`: whether the caller has hung up."""

    method: str
    target: str
    authorization: Optional[str]
    pocket_token: Optional[str]
    body: bytes
    common_name: Optional[str]
    gone: Callable[[], bool]


class Delivery(NamedTuple):
    """What is sent. `how`: whole, cut (half of what Content-Length says), reset, nothing."""

    status: int = 200
    headers: tuple = ()
    body: bytes = b""
    how: str = "whole"


def _common_name(connection: Any) -> Optional[str]:
    certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return value
    return None


def _handler(serve: Callable[[Raw], Delivery]) -> type:
    class Handler(http.server.BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"
        server_version = "pocket-array"
        sys_version = ""
        timeout = IDLE_SECONDS
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            """Nothing: the request log is elsewhere and holds no credentials."""

        def _gone(self) -> bool:
            try:
                return bool(select.select([self.connection], [], [], 0)[0])
            except (OSError, ValueError):
                return True

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > BODY_LIMIT or "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                self.close_connection = True
                self._send(Delivery(413, (), b""))
                return
            raw = Raw(
                self.command,
                self.path,
                self.headers.get("Authorization"),
                self.headers.get("X-Pocket-Token"),
                self.rfile.read(length),
                _common_name(self.connection),
                self._gone,
            )
            self._send(serve(raw))

        def _send(self, delivery: Delivery) -> None:
            if delivery.how == "nothing":
                self.close_connection = True
                return
            if delivery.how == "reset":
                self._reset(delivery)
                return
            self.send_response(delivery.status)
            for name, value in delivery.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(delivery.body)))
            head = b"".join(self._headers_buffer) + b"\r\n"  # type: ignore[attr-defined]
            self._headers_buffer = []
            body = b"" if self.command == "HEAD" else delivery.body
            if delivery.how == "cut":
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(head + body)

        def _reset(self, delivery: Delivery) -> None:
            """Half of the answer, then RST instead of FIN."""
            self.close_connection = True
            head = f"HTTP/1.1 {delivery.status} OK\r\nContent-Length: {len(delivery.body)}\r\n\r\n"
            self.wfile.write(head.encode() + delivery.body[: len(delivery.body) // 2])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile = io.BytesIO()

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = _any

    return Handler


class Listener:
    """Listens on an address until `close`. `mute`: connections are taken, TLS never answers."""

    def __init__(
        self,
        address: str,
        port: int,
        context: Optional[ssl.SSLContext],
        serve: Callable[[Raw], Delivery],
    ):
        self.address, self.context, self.mute = address, context, False
        self._handler = _handler(serve)
        self._lock = threading.Lock()
        self._connections: dict = {}
        self._accepting: Optional[threading.Thread] = None
        self._socket: Optional[socket.socket] = None
        self.port = port
        self.open()

    @property
    def listening(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        """Listen (again), on the same port as before."""
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        listening = socket.create_server((self.address, self.port), family=family, backlog=256)
        self._socket, self.port = listening, listening.getsockname()[1]
        self._accepting = threading.Thread(
            target=self._accept, args=(listening,), name=f"pocket-accept-{self.port}"
        )
        self._accepting.start()

    def close(self) -> None:
        """Refuse new connections, break those that are there, wait for their threads."""
        listening, self._socket = self._socket, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)  # wakes accept(); close() alone would not
            self._accepting.join()
            listening.close()
        self.break_connections()

    def set_mute(self, mute: bool) -> None:
        """Connections break when it begins and when it ends."""
        if mute != self.mute:
            self.mute = mute
            self.break_connections()

    def break_connections(self) -> None:
        """All but that of the calling thread."""
        with self._lock:
            running = dict(self._connections)
        running.pop(threading.current_thread(), None)
        for connection in running.values():
            try:
                # not TLS's own shutdown, which drops its state under its thread
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in running:
            thread.join()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, peer = listening.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._serve,
                args=(connection, peer),
                name=f"pocket-connection-{next(_NUMBERS)}",
            )
            with self._lock:  # who sees it there may join it
                self._connections[thread] = connection
                thread.start()

    @staticmethod
    def _shake_hands(connection: ssl.SSLSocket) -> None:
        """TLS; where it fails the caller gets to read the alert before the connection goes.

        A TLS 1.3 client sends its request before it knows whether its certificate is taken. Closing
        with that unread would be a reset, which takes the alert along.
        """
        try:
            connection.do_handshake()
        except ssl.SSLError:
            connection.settimeout(2)
            socket.socket.shutdown(connection, socket.SHUT_WR)
            while socket.socket.recv(connection, 65536):
                pass
            raise

    def _serve(self, connection: socket.socket, peer: Any) -> None:
        try:
            if self.mute:
                while connection.recv(65536):
                    pass
                return
            if self.context is not None:
                connection.settimeout(HANDSHAKE_SECONDS)
                connection = self.context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
                with self._lock:  # before the handshake: wrap_socket took the file descriptor over
                    self._connections[threading.current_thread()] = connection
                self._shake_hands(connection)
            self._handler(connection, peer, None)
        except (OSError, ValueError):
            pass  # the caller hung up, or does not trust us: its own business
        finally:
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
            connection.close()
