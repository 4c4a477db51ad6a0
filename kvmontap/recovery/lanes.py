"""Threads that do one thing after another, so that whatever hangs in libvirt hangs there and nowhere else."""

import queue
import threading
from typing import Callable, Dict, Hashable


class Lane:
    """One such thread, made when it is first needed."""

    def __init__(self, name: str, fault: Callable[[BaseException], None]) -> None:
        """fault(error) is called in the thread for what a job lets through."""
        self._name = name
        self._fault = fault
        self._lock = threading.Lock()
        self._known: Dict[Hashable, None] = {}
        self._jobs: "queue.SimpleQueue" = queue.SimpleQueue()
        self._started = False

    def do(self, key: Hashable, job: Callable[[], None]) -> None:
        """Have `job` done when its turn comes; not a second time while one of the same key waits or runs."""
        with self._lock:
            if key in self._known:
                return
            self._known[key] = None
            if not self._started:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._started = True
        self._jobs.put((key, job))

    def busy(self, key: Hashable) -> bool:
        """Whether a job of this key waits or runs."""
        with self._lock:
            return key in self._known

    def _run(self) -> None:
        while True:
            key, job = self._jobs.get()
            try:
                job()
            except Exception as error:  # noqa: BLE001 - the thread must live for the jobs to come
                self._fault(error)
            finally:
                with self._lock:
                    self._known.pop(key, None)
