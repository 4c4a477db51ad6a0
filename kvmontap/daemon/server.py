"""The loop of kvmontapd: sleeps until a hook, a signal or the watchdog wants something; one thread per hook.

Nothing in here waits for storage: that is done in the threads, with deadlines.
"""

import os
import select
import signal
import socket
import threading
import time
from typing import Callable, List, NamedTuple, Optional

AT_A_TIME = 64  # libvirt itself works on no more than 25 calls at once; the rest waits in the socket's queue
BACKLOG = 128
LAST_WORDS = 8.0  # seconds that verdicts under way get when the daemon is told to stop


class Duties(NamedTuple):
    """What the server calls."""

    serve: Callable[[socket.socket], None]  # answers one hook, in a thread of its own
    ready: Callable[[], None]  # once, when signals are taken as they are meant
    reload: Callable[[], None]  # on SIGHUP
    alive: Callable[[], None]  # now and then, while the loop turns
    stopping: Callable[[], None]  # once


class Server:
    """Accepts connections on `listeners` and serves each in a thread, until SIGTERM or SIGINT."""

    def __init__(self, listeners: List[socket.socket], duties: Duties, every: Optional[float]) -> None:
        """`every`: seconds between two calls of duties.alive(), None = never."""
        self._listeners = listeners
        self._duties = duties
        self._every = every
        self._busy = 0
        self._change = threading.Condition()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for listener in self._listeners:
            listener.setblocking(False)
            poll.register(listener, select.POLLIN)
        self._duties.ready()
        next_sign = time.monotonic()
        while not self._stopping:
            timeout = None
            if self._every is not None:
                if time.monotonic() >= next_sign:
                    self._duties.alive()
                    next_sign = time.monotonic() + self._every
                timeout = max(0.0, next_sign - time.monotonic()) * 1000
            for number, _ in poll.poll(timeout):
                if number == self._wake:
                    self._signals()
                else:
                    self._accept(next(one for one in self._listeners if one.fileno() == number))
        self._duties.stopping()
        self._finish()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _signals(self) -> None:
        if signal.SIGHUP in os.read(self._wake, 64):
            self._duties.reload()

    def _accept(self, listener: socket.socket) -> None:
        with self._change:
            if self._busy >= AT_A_TIME:
                self._change.wait(0.1)
                return
            self._busy += 1
        try:
            connection, _ = listener.accept()
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()
        except (OSError, RuntimeError):  # the hook has gone again, or there is no thread for it
            self._done()

    def _one(self, connection: socket.socket) -> None:
        try:
            self._duties.serve(connection)
        finally:
            self._done()

    def _done(self) -> None:
        with self._change:
            self._busy -= 1
            self._change.notify_all()

    def _finish(self) -> None:
        """Lets the verdicts that are under way be told, for a while."""
        for listener in self._listeners:
            listener.close()
        until = time.monotonic() + LAST_WORDS
        with self._change:
            while self._busy and time.monotonic() < until:
                self._change.wait(until - time.monotonic())
