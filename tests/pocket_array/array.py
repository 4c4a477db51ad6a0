"""The pocket array itself: state, logins, jobs, faults, log and listener put together.

with PocketArray({"volumes": [{"name": "kvmnfs01"}]}) as array:
    array.url, array.ca, array.user, array.password
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import ssl
import tempfile
import threading
import urllib.parse
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from . import control, faults as fault_kinds, routes
from .authority import Authority
from .exchange import Answer, ApiError, Exchange, Request, blotted, blotted_query
from .faults import Faults, first
from .jobs import Jobs
from .logins import Logins
from .requestlog import RequestLog
from .rooms import Call
from .server import Delivery, Listener, Raw
from .state import State

_HTML = "<html><body><h1>It works!</h1></body></html>"


def server_context(certificate: str, key: str, client_ca: Optional[str]) -> ssl.SSLContext:
    """TLS 1.2 and later; client certificates are welcome, not demanded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca)
    return context


class PocketArray:
    """An array on 127.0.0.1 (or `address`), on a free port unless `port` says otherwise.

    description: see README.md; directory: for the authority and certificates, a temporary one
    where none is given; names: what the server certificate is made for; certificate: "good",
    "wrong" (of another authority), "other-name" or "expired"; observers: called with every Exchange
    before it is delivered; control_port: an own listener for /pocket that no fault touches (0: any).
    """

    def __init__(
        self,
        description: Optional[dict] = None,
        *,
        directory: Optional[str] = None,
        address: str = "127.0.0.1",
        port: int = 0,
        names: tuple = ("127.0.0.1", "localhost"),
        certificate: str = "good",
        control_token: Optional[str] = None,
        control_port: Optional[int] = None,
        observers: tuple = (),
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ):
        description = description or {}
        self.state = State.from_description(description, now)
        self.logins = Logins(description.get("users", []), description.get("roles", {}))
        self.faults, self.log = Faults(), RequestLog()
        self.observers = list(observers)
        self.control_token = control_token or secrets.token_urlsafe(16)
        self.stopping, self.stop_asked = threading.Event(), threading.Event()
        self.jobs = Jobs(self.state.stamp, self.stopping)
        self._numbers = itertools.count(1)
        self._own_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="pocket-array-")
        self._where = (address, port, tuple(names), certificate, control_port)
        self.listener: Optional[Listener] = None
        self.control_listener: Optional[Listener] = None
        self.authority: Optional[Authority] = None
        self.judge: Any = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> "PocketArray":
        address, port, names, kind, control_port = self._where
        self.authority = Authority(self.directory)
        pair = self._server_pair(names, kind)
        context = server_context(pair.certificate, pair.key, self.authority.certificate)
        if control_port is not None:
            good = pair if kind == "good" else self.authority.server(names, "control")
            own = server_context(good.certificate, good.key, None)
            self.control_listener = Listener(address, control_port, own, self.serve)
        self.listener = Listener(address, port, context, self.serve)
        return self

    def _server_pair(self, names: tuple, kind: str) -> Any:
        if kind == "wrong":
            stranger = Authority(os.path.join(self.directory, "stranger"), "some other CA")
            return stranger.server(names)
        if kind == "other-name":
            return self.authority.server(("other.example.com",))
        if kind not in ("good", "expired"):
            raise ValueError("certificate is good, wrong, other-name or expired.")
        return self.authority.server(names, expired=kind == "expired")

    def stop(self) -> None:
        """Ends everything: no thread, no socket, no temporary file is left. May be called twice."""
        self.stopping.set()
        self.faults.clear()  # lets go what is slow or silent
        for listener in (self.listener, self.control_listener):
            if listener is not None:
                listener.close()
        self.jobs.join()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "PocketArray":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def host(self) -> str:
        """host:port as it stands in a URL and in the configuration."""
        address = self._where[0]
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    @property
    def ca(self) -> str:
        """Path of the PEM file that clients have to trust."""
        return self.authority.certificate

    def refuse(self) -> None:
        """From now on connections are refused; those that are open break."""
        self.listener.close()

    def mute(self) -> None:
        """From now on connections are taken and nothing is ever answered, TLS not even begun."""
        self.listener.open()
        self.listener.set_mute(True)

    def listen(self) -> None:
        """As after start."""
        self.listener.set_mute(False)
        self.listener.open()

    def volume(self, name: str) -> Any:
        """The Volume of this name or uuid, to look into."""
        return self.state.volume(name)

    def change(self, **changes: dict) -> None:
        """E.g. change(volumes={"kvmnfs01": {"state": "offline"}}); see State.change."""
        self.state.change(changes)

    def summary(self) -> dict:
        """What the control interface tells of the state."""
        with self.state.lock:
            volumes, lifs = list(self.state.volumes.values()), list(self.state.lifs.values())
        return {
            "volumes": {
                each.name: {
                    "uuid": each.uuid,
                    "svm": each.svm.name,
                    "state": each.state,
                    "path": each.path,
                    "space": dict(zip(("size", "used", "available"), each.space())),
                    "snapshot_limit": each.snapshot_limit,
                    "snapshots": [
                        {
                            "uuid": s.uuid,
                            "name": s.name,
                            "comment": s.comment,
                            "create_time": s.create_time,
                        }
                        for s in list(each.snapshots.values())
                    ],
                }
                for each in volumes
            },
            "lifs": {
                each.name: {"uuid": each.uuid, "address": each.address, "state": each.state}
                for each in lifs
            },
        }

    # -- one request -----------------------------------------------------------------------------

    def serve(self, raw: Raw) -> Delivery:
        """Answer one request; called in the thread of its connection."""
        target = urllib.parse.urlsplit(raw.target)
        query = tuple(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
        path = target.path.rstrip("/") or "/"
        try:
            body, broken = (json.loads(raw.body) if raw.body.strip() else None), None
        except ValueError:
            body, broken = None, ApiError(400, "262183", "Invalid JSON input.")
        if path.startswith("/pocket"):
            return self._delivery(control.answer(self, raw, path, dict(query), body))
        return self._array_request(raw, path, query, body, broken)

    def _array_request(
        self, raw: Raw, path: str, query: tuple, body: Any, broken: Optional[ApiError]
    ) -> Delivery:
        user, refusal = None, broken
        try:
            user = self.logins.who(raw.authorization, raw.common_name)
        except ApiError as error:
            refusal = error
        request = Request(next(self._numbers), raw.method, path, query, body, user and user.name)
        kept = request._replace(query=blotted_query(query), body=blotted(body))
        entry = self.log.came(kept)
        faults = self.faults.take(raw.method, path)
        kinds = tuple(each.kind for each in faults)
        answer, how = self._around(raw, request, user, refusal, faults)
        self.log.answered(entry, answer, kinds)
        if answer is not None:
            exchange = Exchange(kept, answer, kinds)
            for observe in self.observers:
                observe(exchange)
        return self._delivery(answer, how, first(faults, "cut-json") is not None)

    def _around(
        self, raw: Raw, request: Request, user: Any, refusal: Optional[ApiError], faults: list
    ) -> tuple:
        """(Answer or None, how to deliver it), the faults that come before and after the work included."""
        answer = None
        for when_after in (False, True):
            for fault in faults:
                if fault.after is not when_after:
                    continue
                if fault.kind == "slow":
                    fault.cleared.wait(float(fault.options["seconds"]))
                elif fault.kind == "silent":
                    self._hold(raw, fault)
                    return answer, "nothing"
                elif fault.kind == "closed":
                    return answer, "nothing"
                elif fault.kind == "reset":
                    return answer or Answer(200, {"records": [], "num_records": 0}), "reset"
            if not when_after:
                answer = self._answer(request, user, refusal, faults)
        return answer, "cut" if first(faults, "cut") else "whole"

    def _hold(self, raw: Raw, fault: Any) -> None:
        """Say nothing until the caller hangs up, the fault is cleared, its seconds are over or we stop."""
        left = float(fault.options.get("seconds", 1e9))
        while left > 0 and not raw.gone() and not fault.cleared.wait(0.1):
            left -= 0.1

    def _answer(
        self, request: Request, user: Any, refusal: Optional[ApiError], faults: list
    ) -> Answer:
        instead = first(faults, "status", "not-json")
        if instead is not None:
            return Answer(
                int(instead.options.get("status", 200)),
                instead.options.get("text", _HTML),
                (("Content-Type", "text/html"),),
            )
        try:
            error = fault_kinds.immediate_error(faults) or refusal
            if error:
                raise error
            self.logins.allow(user, request.method, request.path)
            handler, keys = routes.find(request.method, request.path)
            answer = handler(self._call(request, keys, user, faults))
        except ApiError as error:
            answer = error.answer()
        except Exception as error:  # a fault of ours is an answer too, and a test sees it
            answer = ApiError(500, "1", f"internal error: {type(error).__name__}: {error}").answer()
        return fault_kinds.spoiled(answer, faults)

    def _call(self, request: Request, keys: dict, user: Any, faults: list) -> Call:
        slow, form = first(faults, "job-slow"), first(faults, "location")
        seconds = float(slow.options["seconds"]) if slow else self.state.job_seconds

        def start_job(description: str, svm: dict, work: Callable[[], None]) -> Any:
            fail, release = fault_kinds.job_error(faults), slow and slow.cleared
            job = self.jobs.start(description, svm, work, seconds, fail, release)
            job.lost = first(faults, "job-lost") is not None
            return job

        return Call(
            request,
            keys,
            user,
            self.state,
            self.jobs,
            start_job,
            form.options["form"] if form else self.state.location,
        )

    def _delivery(
        self, answer: Optional[Answer], how: str = "whole", cut_json: bool = False
    ) -> Delivery:
        if answer is None:
            return Delivery(how="nothing")
        headers = answer.headers
        if isinstance(answer.body, str):
            return Delivery(answer.status, headers, answer.body.encode(), how)
        text = b"" if answer.body is None else json.dumps(answer.body).encode()
        if cut_json:
            text = text[: len(text) // 2]
        return Delivery(
            answer.status, (("Content-Type", "application/hal+json"), *headers), text, how
        )
