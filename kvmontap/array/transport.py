"""One HTTPS session to an array whose every wait ends at the operation's deadline.

Imports requests and urllib3, which may lie in our private directory: only `kvmontap.array.client` imports this module, after it
has put that directory on the path.

What the libraries' own settings cannot do and is done here: name resolution, connecting, the TLS handshake, sending and
each read together end at one point in time (a socket timeout starts anew with every byte that trickles in), nothing is sent again behind
our back, nothing of the environment (proxies, CA bundles, netrc, SSLKEYLOGFILE) counts, and the login is sent to no other origin.
"""

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator, Optional

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from kvmontap.array import names

# Connections to one array at once.  Too many show as read timeouts on the array's side (NetApp/netapp.ontap#347).
CONNECTIONS = 4
# More than this in one answer is no answer to anything that we ask.
LARGEST_ANSWER = 32 * 1024 * 1024


class TooLarge(OSError):
    """An answer is larger than LARGEST_ANSWER."""


class _Operation(threading.local):
    """What the thread at hand is doing: set by `bounded`, read by the sockets that it uses."""

    deadline: Optional[float] = None
    received = 0


_operation = _Operation()


@contextmanager
def bounded(deadline: float) -> Iterator[None]:
    """Everything that this thread sends and receives inside ends at `deadline` (time.monotonic()) with socket.timeout."""
    before = _operation.deadline
    _operation.deadline = deadline
    try:
        yield
    finally:
        _operation.deadline = before


def remaining() -> float:
    """Seconds that this thread's operation has left; raises socket.timeout where none are."""
    if _operation.deadline is None:
        raise RuntimeError("a request outside of bounded()")
    left = _operation.deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("the time for this operation is over")
    return left


class _Socket(ssl.SSLSocket):
    """A TLS socket that takes its timeout from the operation, anew for every step.

    ssl.SSLSocket keeps to its timeout within one handshake and one read; http.client reads an answer in many.
    """

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(remaining())
        super().do_handshake(block)

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(remaining())
        return super().send(data, flags)

    def recv_into(self, buffer: Any, nbytes: Optional[int] = None, flags: int = 0) -> int:
        self.settimeout(remaining())
        count = super().recv_into(buffer, nbytes, flags)
        _operation.received += count
        if _operation.received > LARGEST_ANSWER:
            raise TooLarge(f"it is larger than {LARGEST_ANSWER >> 20} MiB")
        return count


def tls_context(ca: str) -> ssl.SSLContext:
    """A context that trusts `ca` (a PEM file) or, where that is "", the system's store as OpenSSL was built to find it.

    Raises OSError and ssl.SSLError for a file that cannot be used.  ssl.create_default_context() is not used: it follows
    SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE, and requests would take certifi's bundle in place of the system's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        context.load_verify_locations(cafile=ca)
    else:
        paths = ssl.get_default_verify_paths()
        for where in ({"cafile": paths.openssl_cafile}, {"capath": paths.openssl_capath}):
            try:
                context.load_verify_locations(**where)
            except OSError:
                continue  # a distribution has the one or the other
    return context


class _Connection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        """A TCP connection to the first of the host's addresses that accepts one."""
        try:
            addresses = names.resolve(self._dns_host, self.port, time.monotonic() + remaining())
        except socket.gaierror as error:
            raise NewConnectionError(self, f"cannot resolve {self.host}") from error
        failure: OSError = OSError("it has no address")
        for count, (family, sockaddr) in enumerate(addresses):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                # A silent first address must leave time for the others.
                sock.settimeout(remaining() / (len(addresses) - count))
                sock.connect(sockaddr)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(remaining())
                return sock
            except OSError as error:
                failure = error
                sock.close()
        raise NewConnectionError(self, f"cannot connect to {self.host}") from failure


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """The session's only way out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"  # against the context's trust, not requests' own bundle

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        path, mark, query = request.url.partition("?")
        request.url = path + mark + query.replace("+", "%20")  # ONTAP wants spaces so; a real plus is %2B by now
        _operation.received = 0
        if not self._slots.acquire(timeout=remaining()):
            raise socket.timeout("the time for this operation is over")
        try:
            left = remaining()
            response = super().send(request, stream=True, timeout=(left, left), verify=True, cert=None, proxies=None)
            _ = response.content  # read here, inside of the slot
            return response
        finally:
            self._slots.release()


def _hide_location(response: requests.Response, *args: Any, **kwargs: Any) -> None:
    """Keeps the new record's Location from netapp_ontap.

    Where that header names a record by a query, its post(poll=False) polls the job all the same, sleeps whole seconds, and loses the
    job's error code.  We read the job ourselves and need no Location.
    """
    if response.status_code in (201, 202):
        response.headers.pop("Location", None)


def session(origin: str, context: ssl.SSLContext) -> requests.Session:
    """A session that reaches `origin` ("https://host:port") and nothing else."""
    made = requests.Session()
    made.trust_env = False
    made.max_redirects = 0
    made.adapters.clear()
    # With the slash: "https://host:443@elsewhere/" begins with the origin, too.
    made.mount(origin + "/", _Adapter(context))
    made.headers["Accept-Encoding"] = "identity"
    made.hooks["response"].append(_hide_location)
    return made
