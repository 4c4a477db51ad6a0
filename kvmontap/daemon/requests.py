"""One connection of a hook: read the event, answer within the time that was announced, whatever happens inside."""

import socket
import time
from typing import Callable

from kvmontap import service
from kvmontap.gate import report, wire
from kvmontap.gate.pipeline import CallerGone
from kvmontap.gate.verdict import Event
from kvmontap.model import Verdict

READING = 2.0  # seconds for a whole request to arrive
AT_ONCE = 2.0  # what is announced before anything is known: reading the configuration and the XML


def serve(connection: socket.socket, handle: Callable[..., Verdict]) -> None:
    """Answers the one event that `connection` carries and closes it."""
    with connection:
        started = time.monotonic()
        try:
            name, op, subop, extra, _, xml = wire.parse_request(_received(connection, started + READING))
        except (OSError, wire.WireError) as error:
            service.log(service.WARNING, f"a request on the socket cannot be used: {error}")
            return
        event = Event(name, op, subop, extra)

        def tell(seconds: float) -> None:
            try:
                connection.sendall(wire.wait(seconds))
            except OSError:
                raise CallerGone from None

        try:
            tell(AT_ONCE)
            if (op, subop) in wire.DECIDING:
                verdict = handle(event, xml, started, tell)
            else:
                verdict = Verdict(True, "", "")
        except CallerGone:
            service.log(service.NOTICE, f"VM {name}: the hook did not wait for its verdict", KVMONTAP_DOMAIN=name)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep a VM down
            service.log(*report.fault(event, error)[:2], **report.fault(event, error).fields)
            verdict = Verdict(True, "gate.error", "")
        try:
            connection.sendall(wire.reply(verdict.allow, verdict.sentence))
        except OSError:
            service.log(service.NOTICE, f"VM {name}: the hook did not wait for its verdict", KVMONTAP_DOMAIN=name)
    for line in report.lines(event, verdict):
        service.log(line.priority, line.message, **line.fields)


def _received(connection: socket.socket, until: float) -> bytes:
    """Everything up to the end of the stream."""
    chunks = []
    size = 0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise wire.WireError("it did not arrive in time")
        connection.settimeout(left)
        chunk = connection.recv(1 << 16)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > wire.LARGEST:
            raise wire.WireError(f"it is larger than {wire.LARGEST >> 20} MiB")
