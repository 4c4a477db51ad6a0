"""The configuration as the daemon sees it: asked at each event, read again as soon as the file is another one."""

import os
import threading
from typing import Callable, Dict, Mapping, Optional, Tuple

from kvmontap.config import load
from kvmontap.gate.configured import Configured, configured, nothing
from kvmontap.model import Pool


class ConfigurationFile:
    """The file at `path`; thread-safe.

    recorded() gives the pools of kvmontap.applied; changed(found) is called after each reading.
    """

    def __init__(
        self, path: str, recorded: Callable[[], Mapping[str, Pool]], changed: Callable[[Configured], None]
    ) -> None:
        self.path = path
        self._recorded = recorded
        self._changed = changed
        self._lock = threading.Lock()
        self._identity: Optional[Tuple] = None
        self._found: Optional[Configured] = None

    def current(self) -> Configured:
        """What the file says now."""
        identity = _identity(self.path)
        with self._lock:
            if self._found is None or identity != self._identity:
                # The identity from before the reading: what is written meanwhile is read at the next event.
                self._found = self._read(identity)
                self._identity = identity
                self._changed(self._found)
            return self._found

    def reload(self) -> Configured:
        """Reads the file whether or not it looks changed."""
        with self._lock:
            self._identity = None
        return self.current()

    def _read(self, identity: Tuple) -> Configured:
        if identity == ():
            return nothing(self.path)
        loaded = load(self.path)
        remembered: Dict[str, Pool] = self._found.config.pools if self._found is not None else {}
        return configured(loaded, self._recorded() if loaded.problems else {}, remembered)


def _identity(path: str) -> Tuple:
    """What tells one text of the file from another; () where there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (error.errno,)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
