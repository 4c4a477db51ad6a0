"""The array's REST API, through netapp_ontap: the only module that imports it, and only when an array is first asked.

Callers get plain dictionaries of untrusted JSON (kvmontap.array.answers reads them) or an ArrayError.
"""

import logging
import os
import ssl
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from kvmontap.array import login as logins
from kvmontap.array.answers import AnswerError, one_line, text
from kvmontap.array.errors import ArrayError, Where, explain
from kvmontap.config.secrets import SecretError
from kvmontap.model import Array
from kvmontap.reasons import finding

VENDOR = "/usr/lib/kvmontap/vendor"
PORT = 443

# What people call netapp_ontap's classes; snapshots is for everything else.
_WHAT = {
    "Volume": "volumes", "IpInterface": "LIFs", "CifsShare": "SMB shares", "Svm": "SVMs", "Lun": "LUNs", "NvmeNamespace": "namespaces",
    "Igroup": "igroups", "LunMap": "LUN maps", "NvmeSubsystem": "subsystems", "NvmeSubsystemMap": "subsystem maps",
    "NfsClients": "NFS clients", "CifsSession": "SMB sessions",
    "FcInterface": "FC LIFs", "Aggregate": "aggregates", "ConsistencyGroup": "consistency groups",
    "ConsistencyGroupSnapshot": "consistency group snapshots", "SnaplockComplianceClock": "compliance clocks",
    "SnapmirrorRelationship": "SnapMirror relationships", "SnapmirrorTransfer": "SnapMirror transfers",
    "Mediator": "mediators", "Metrocluster": "MetroCluster",
    "Cluster": "the cluster's version", "ExportPolicy": "export policies",
}  # fmt: skip

_import_lock = threading.Lock()


class _Library(NamedTuple):
    """What we use of netapp_ontap, and our transport."""

    resources: Any
    connection: Any  # the HostConnection class with our session
    transport: Any


_library: List[_Library] = []


def _load() -> _Library:
    """netapp_ontap, imported once and made quiet; raises ImportError."""
    with _import_lock:
        if _library:
            return _library[0]
        if os.path.isdir(VENDOR) and VENDOR not in sys.path:
            # Before everything else: the distribution's own requests and urllib3 are too old for netapp_ontap.
            sys.path.insert(0, VENDOR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # requests warns of versions that it has not heard of
            from netapp_ontap import HostConnection, config, resources

            from kvmontap.array import transport
        for name in ("netapp_ontap", "urllib3", "requests"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        # An enum value of a newer ONTAP is no reason to lose the record.
        config.ENABLE_VALIDATIONS = False

        class Connection(HostConnection):
            """netapp_ontap's connection with our session in place of the one that it would make."""

            kvmontap_session: Any = None

            @property
            def session(self) -> Any:
                return self.kvmontap_session

        _library.append(_Library(resources, Connection, transport))
        return _library[0]


def http_date(words: str) -> Optional[float]:
    """Epoch seconds of an HTTP Date header, None where it is none."""
    try:
        return parsedate_to_datetime(words).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def split_address(address: str) -> Tuple[str, int]:
    """(host, port) of "host", "host:port", "[v6]" or "[v6]:port"."""
    host, port = address, ""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.lstrip(":")
    elif address.count(":") == 1:
        host, port = address.split(":")
    return host, int(port) if port.isdigit() else PORT


class _Link(NamedTuple):
    """One kept connection: netapp_ontap's object and the session inside."""

    connection: Any
    secrets: Tuple[str, ...]


class Client:
    """One array.  Thread-safe; keeps its connection until an error or close().

    `deadline` is always a time.monotonic() value; an operation ends there or after the array's own `timeout`, whichever is
    first, whatever the array does.  Every failure is an ArrayError.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        # What has been learnt of this array and is needed again.
        self.older_locks = False  # it knows a snapshot's lock as snaplock_expiry_time
        self.no_ransomware = False  # it is too old to know volume.anti_ransomware
        self.lock_fields = 0  # how it spells a snapshot's lock when it is read (kvmontap.array.stored)
        self.compliance: Optional[Tuple[Optional[float], float]] = None  # kvmontap.array.compliance: clock minus ours, and when asked
        self.one_phase = False  # it makes the snapshot of a consistency group in one go only
        self.volumes: Dict[str, str] = {}  # the UUID of the volume last seen behind each pool
        self._user = logins.account(array)
        self._lock = threading.Lock()
        self._link: Optional[_Link] = None
        self._ahead: Optional[float] = None  # its clock minus our monotonic one

    def clock(self) -> Optional[float]:
        """The array's own time now (epoch seconds, to the second), as its answers told it; None while none has."""
        return None if self._ahead is None else time.monotonic() + self._ahead

    def _note_clock(self, response: Any, *_: Any, **__: Any) -> None:
        told = http_date(response.headers.get("Date", ""))
        if told is not None:
            self._ahead = told - time.monotonic()

    def close(self) -> None:
        """Closes the connection; the next operation logs in anew with what the files hold then."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.connection.kvmontap_session.close()

    def limit(self, deadline: float) -> float:
        """When an operation that begins now ends at the latest."""
        return min(deadline, time.monotonic() + self.array.timeout)

    def records(
        self, resource: str, fields: Iterable[str], deadline: float, most: int = 100, parents: Tuple[str, ...] = (), **filters: str
    ) -> Tuple[Dict[str, Any], ...]:
        """Records of a collection: `resource` is netapp_ontap's class name, filters are ONTAP's (pass them as **{"svm.name": ...}).

        Raises ValueError for a filter without a value, which ONTAP would answer with everything that it has.
        """
        for key, value in filters.items():
            if not value:
                raise ValueError(f"the filter {key} is empty")
        what = _WHAT.get(resource, "snapshots")
        deadline = self.limit(deadline)
        try:
            return self._records(resource, fields, deadline, most, parents, filters, what)
        except ArrayError as error:
            # A kept connection that the array had given up shows only now.  Reading twice does no harm.
            if not error.hung_up or time.monotonic() >= deadline:
                raise
        # Out here, so that the second failure does not carry the first one as its context.
        return self._records(resource, fields, deadline, most, parents, filters, what)

    def _records(
        self, resource: str, fields: Iterable[str], deadline: float, most: int, parents: Tuple[str, ...],
        filters: Mapping[str, str], what: str,
    ) -> Tuple[Dict[str, Any], ...]:
        found: List[Dict[str, Any]] = []
        with self._talking(deadline, what) as library:
            kind = getattr(library.resources, resource)
            listing = kind.fast_get_collection(*parents, max_records=most, fields=",".join(fields), **filters)
            for record in listing:
                if not isinstance(record.resource_data, dict):
                    raise AnswerError("a record is not an object")
                found.append(record.resource_data)
                if len(found) >= most:
                    break
        return tuple(found)

    def record(self, resource: str, fields: Iterable[str], deadline: float) -> Dict[str, Any]:
        """The one record of a resource that is no collection."""
        with self._talking(self.limit(deadline), _WHAT[resource]) as library:
            told = getattr(library.resources, resource)().get(fields=",".join(fields)).http_response.json()
            if not isinstance(told, dict):
                raise AnswerError("a record is not an object")
            return told

    def create_snapshot(self, volume: str, body: Mapping[str, Any], wait: int, deadline: float) -> str:
        """Asks for a snapshot of the volume of that UUID; "" when it is there, else the UUID of the job that makes it.

        Sent exactly once.  `wait` is how many seconds the array may take before it hands out a job.
        """
        with self._talking(self.limit(deadline), "snapshots", "create") as library:
            wanted = library.resources.Snapshot.from_dict(dict(body), volume)
            return _job(wanted.post(poll=False, return_timeout=wait).http_response, 201, "created")

    def delete_snapshot(self, volume: str, uuid: str, wait: int, deadline: float) -> str:
        """Asks for a snapshot to be deleted; "" when it is gone, else the UUID of the job.  Sent exactly once."""
        with self._talking(self.limit(deadline), "snapshots", "delete") as library:
            doomed = library.resources.Snapshot(volume, uuid=uuid)
            return _job(doomed.delete(poll=False, return_timeout=wait).http_response, 200, "deleted")

    def create_group_snapshot(
        self, group: str, body: Mapping[str, Any], wait: int, deadline: float, fence: int
    ) -> Tuple[str, str]:
        """Asks for a snapshot of the consistency group of that UUID: (the job's UUID or "", the snapshot's UUID where it is told).

        fence: begin it only, and hold writes back for so many seconds at most; 0 = make it in one go.  Sent exactly once.
        """
        phase: Dict[str, Any] = {"action": "start", "action_timeout": fence} if fence else {}
        with self._talking(self.limit(deadline), "consistency group snapshots", "create") as library:
            wanted = library.resources.ConsistencyGroupSnapshot.from_dict(dict(body), group)
            answer = wanted.post(poll=False, return_timeout=wait, return_records="true", **phase).http_response
            job = _job(answer, 201, "created")
            told = answer.json() if answer.content.strip() else {}
            records = told.get("records") or [{}]
            place = answer.headers.get("Location", "").split("?")[0].rstrip("/").rsplit("/snapshots/", 1)
            return job, text(records[0], "uuid") or (place[1] if len(place) == 2 else "")

    def clone_file(self, body: Mapping[str, Any], wait: int, deadline: float) -> str:
        """Asks for a clone of a file within its volume; "" when it is there, else the UUID of the job.  Sent exactly once."""
        with self._talking(self.limit(deadline), "file clones", "create") as library:
            wanted = library.resources.FileClone.from_dict(dict(body))
            return _job(wanted.post(poll=False, return_timeout=wait).http_response, 201, "created")

    def create(
        self, resource: str, body: Mapping[str, Any], deadline: float, wait: Optional[int] = None, parents: Tuple[str, ...] = ()
    ) -> str:
        """Asks for a new record of netapp_ontap's class `resource`; "" when it is there, else the UUID of the job.  Sent exactly once.

        `wait`: seconds that the array may take before it hands out a job, None for what is never made by one.
        """
        with self._talking(self.limit(deadline), _WHAT[resource], "create") as library:
            wanted = getattr(library.resources, resource).from_dict(dict(body), *parents)
            query = {} if wait is None else {"return_timeout": wait}
            return _job(wanted.post(poll=False, **query).http_response, 201, "created")

    def change(
        self, resource: str, uuid: str, query: Mapping[str, Any], wait: int, deadline: float, parents: Tuple[str, ...] = ()
    ) -> str:
        """Sends a PATCH that says all in its query; "" when it is done, else the UUID of the job.  Sent exactly once."""
        with self._talking(self.limit(deadline), _WHAT[resource], "change") as library:
            changed = getattr(library.resources, resource)(*parents, uuid=uuid)
            return _job(changed.patch(poll=False, return_timeout=wait, **query).http_response, 200, "changed")

    def remove(self, resource: str, uuid: str, deadline: float, parents: Tuple[str, ...] = (), **query: Any) -> str:
        """Deletes the record; "" when it is gone, else the UUID of the job.  Sent exactly once."""
        with self._talking(self.limit(deadline), _WHAT[resource], "delete") as library:
            doomed = getattr(library.resources, resource)(*parents, uuid=uuid)
            return _job(doomed.delete(poll=False, **query).http_response, 200, "deleted")

    def job(self, uuid: str, deadline: float) -> Dict[str, Any]:
        """The job's `state`, `code`, `message` and `error`, as the array tells them."""
        with self._talking(self.limit(deadline), "jobs") as library:
            told = library.resources.Job(uuid=uuid).get(fields="state,code,message,error").http_response.json()
            if not isinstance(told, dict):
                raise AnswerError("a job is not an object")
            return told

    def where(self, what: str, doing: str = "read") -> Where:
        """The names that a sentence about this array needs."""
        return Where(self.array.name, self.array.address, self._user, what, doing, bool(self.array.certificate))

    @contextmanager
    def _talking(self, deadline: float, what: str, doing: str = "read") -> Iterator[_Library]:
        """The library with this thread's connection set; what it raises becomes an ArrayError and drops the connection."""
        began = time.monotonic()
        where = self.where(what, doing)
        try:
            library = _load()
        except ImportError as error:
            raise ArrayError(finding("array.client", error=one_line(str(error)))) from None
        link = self._connected(library)
        try:
            with library.transport.bounded(deadline), link.connection:
                yield library
        except Exception as error:  # pylint: disable=broad-except  # netapp_ontap lets any type through
            told = explain(error, where, time.monotonic() - began)
            if not told.status or told.finding.code == "array.login":
                self._drop(link)
            raise _without(told, link.secrets) from None

    def _drop(self, link: _Link) -> None:
        with self._lock:
            if self._link is link:
                self._link = None
        link.connection.kvmontap_session.close()

    def _connected(self, library: _Library) -> _Link:
        with self._lock:
            if self._link is None:
                try:
                    self._link = self._make(library)
                except SecretError as error:
                    raise ArrayError(finding("array.secret", array=self.array.name, error=one_line(str(error)))) from None
            return self._link

    def _make(self, library: _Library) -> _Link:
        login = logins.read(self.array)
        try:
            context = library.transport.tls_context(self.array.ca)
        except OSError as error:  # ssl.SSLError is one
            reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
            raise SecretError(f"ca={self.array.ca} cannot be used: {one_line(reason)}") from None
        host, port = split_address(self.array.address)
        if login.certificate:
            logins.add_certificate(context, login)
            how: Dict[str, Any] = {"cert": login.certificate, "key": login.key}
        elif login.token:
            how = {"headers": {"Authorization": f"Bearer {login.token}"}}
        else:
            how = {"username": login.username, "password": login.password}
        connection = library.connection(host, port=port, **how)
        session = library.transport.session(connection.origin, context)
        if login.token:
            session.headers["Authorization"] = f"Bearer {login.token}"
        elif login.password:
            # requests would encode text as Latin-1 and fail for anything else.
            session.auth = (login.username.encode(), login.password.encode())
        session.hooks["response"].append(self._note_clock)
        connection.kvmontap_session = session
        return _Link(connection, tuple(secret for secret in (login.password, login.token) if secret))


def _without(error: ArrayError, secrets: Tuple[str, ...]) -> ArrayError:
    """The error with every secret blotted out that the array may have thrown back at us."""
    for secret in secrets:
        if secret in error.message or secret in error.finding.text:
            error.message = error.message.replace(secret, "***")
            error.finding = error.finding._replace(text=error.finding.text.replace(secret, "***"))
            error.args = (error.finding.text,)
    return error


def _job(answer: Any, done: int, doing: str) -> str:
    """"" for an answer that says it is done, else the UUID of the job that does it."""
    if answer.status_code == done:
        if answer.content.strip() and not isinstance(answer.json(), dict):  # a page of somebody in between says 200 too
            raise AnswerError("it is not an object")
        return ""
    if answer.status_code != 202:
        raise AnswerError(f"HTTP {answer.status_code} does not say whether it was {doing}")
    told = answer.json()
    job = told.get("job") if isinstance(told, dict) else None
    if not isinstance(job, dict):
        raise AnswerError("it names no job")
    return text(job, "uuid") or text(job, "_links.self.href").split("?")[0].rstrip("/").rsplit("/", 1)[-1]


class Clients:
    """One Client for each array of the configuration; thread-safe.

    A Client is made anew, and the old one closed, as soon as its array's section has changed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Dict[str, Client] = {}

    def get(self, array: Array) -> Client:
        """The client for that array as it is configured now."""
        with self._lock:
            kept = self._kept.get(array.name)
            if kept is not None and kept.array == array:
                return kept
            self._kept[array.name] = made = Client(array)
        if kept is not None:
            kept.close()
        return made

    def keep(self, arrays: Mapping[str, Array]) -> None:
        """Closes the clients of arrays that the configuration names no longer, or otherwise."""
        with self._lock:
            gone = [name for name, client in self._kept.items() if arrays.get(name) != client.array]
            closed = [self._kept.pop(name) for name in gone]
        for client in closed:
            client.close()

    def close(self) -> None:
        """Closes all."""
        self.keep({})
