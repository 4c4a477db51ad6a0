"""Our connection to libvirt, for as long as libvirt runs: made again whenever it was lost, in a thread of its own.

It is only made to a daemon that runs.  systemd's sockets would start one that an administrator has stopped.
"""

import threading
from typing import Callable, Optional

from kvmontap.pools.libvirtd import Libvirt, Listener, PoolError, event_loop

EVERY = 10.0  # seconds between two looks for libvirt while it is not there


class Session:
    """start() it; connection() gives what there is."""

    def __init__(
        self,
        running: Callable[[], str],
        wanted: Callable[[], bool],
        listener: Listener,
        connected: Callable[[str], None],
        fault: Callable[[BaseException], None],
    ) -> None:
        """running() names the daemon that runs, "" for none (kvmontap.gate.memory.Refusals); wanted() tells whether anybody needs it.

        connected(daemon) is called in the session's thread, before anything that happens is told.
        """
        self._running = running
        self._wanted = wanted
        self._connected = connected
        self._fault = fault
        self._listener = Listener(listener.pool, listener.machine, self._closed)
        self._lost = threading.Event()
        self._connection: Optional[Libvirt] = None
        self._said = ""

    def start(self) -> None:
        """Connects, and does so again, for as long as the process lives."""
        threading.Thread(target=self._run, name="kvmontap-session", daemon=True).start()

    def there(self) -> bool:
        """Whether libvirt can be asked."""
        return self._connection is not None

    def connection(self) -> Libvirt:
        """The connection; PoolError while there is none."""
        connection = self._connection
        if connection is None:
            raise PoolError("libvirt does not run")
        return connection

    def _closed(self) -> None:
        self._connection = None
        self._lost.set()

    def _run(self) -> None:
        while True:
            daemon = self._running() if self._wanted() else ""
            if daemon:
                try:
                    self._once(daemon)
                except PoolError as error:
                    self._say(error)
            self._lost.wait(EVERY)
            self._lost.clear()

    def _once(self, daemon: str) -> None:
        """One connection, until it is lost."""
        event_loop()
        self._lost.clear()
        # It answers once its autostart is over, however long that takes.
        with Libvirt() as connection:
            connection.listen(self._listener)
            self._connection = connection
            self._said = ""
            try:
                self._connected(daemon)
                self._lost.wait()
            finally:
                self._connection = None

    def _say(self, error: PoolError) -> None:
        if str(error) != self._said:
            self._said = str(error)
            self._fault(error)
