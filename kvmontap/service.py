"""systemd's side of a service: sockets handed over, notifications, the journal.  The only module that imports `systemd`.

Everything here works without systemd too (by hand, in a container): notifications go nowhere, log lines to stderr.
"""

import os
import sys
import time
from typing import List, Optional

try:
    from systemd import daemon, journal
except ImportError:  # by hand, with a Python that has no bindings
    daemon = journal = None

ERR, WARNING, NOTICE, INFO = 3, 4, 5, 6  # syslog(3)


def listening_sockets() -> List[int]:
    """File descriptors that systemd listens on for us, [] when it does not."""
    return list(daemon.listen_fds(True)) if daemon is not None else []


def notify(*lines: str) -> None:
    """Assignments of sd_notify(3), e.g. "READY=1"; nothing happens where nobody asked for them."""
    if daemon is not None and os.environ.get("NOTIFY_SOCKET"):
        daemon.notify("\n".join(lines))


def reloading() -> None:
    """The configuration is being read anew; follow with notify("READY=1")."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_seconds() -> Optional[float]:
    """How often to say WATCHDOG=1: half of what systemd grants, None where it does not ask."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6


def to_journal() -> bool:
    """Whether our stderr is the journal's, that is, whether systemd runs us."""
    return journal is not None and bool(os.environ.get("JOURNAL_STREAM"))


def log(priority: int, message: str, **fields: str) -> None:
    """One line with structured fields (MESSAGE_ID, KVMONTAP_DOMAIN, ...); to stderr where the journal does not have that."""
    if to_journal():
        try:
            journal.send(message, PRIORITY=priority, SYSLOG_IDENTIFIER="kvmontapd", **fields)
            return
        except OSError:
            pass
    shown = " ".join(f"{key}={value}" for key, value in fields.items() if key != "MESSAGE_ID" and value)
    try:
        sys.stderr.write(f"<{priority}>{message}" + (f" ({shown})" if shown else "") + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def log_from_hook(priority: int, message: str, **fields: str) -> None:
    """As log(), for a process whose stderr belongs to libvirt: to the journal or nowhere."""
    if journal is None or not os.path.exists("/run/systemd/journal/socket"):
        return
    try:
        journal.send(message, PRIORITY=priority, SYSLOG_IDENTIFIER="kvmontap-hook", **fields)
    except OSError:
        pass
