"""Runs commands that may hang in the kernel, without ever hanging with them.

A system call on a dead mount can block beyond the reach of every signal, so it is made by a process of its own.  The
rules, for each key (a mount): at most one process at a time, whatever becomes of it; who asks the same while it runs,
or shortly after, shares its answer; nobody waits beyond their own deadline, nor at all for a process that has been
silent for `patience` already.  A process that is given up is left alone for `linger` seconds, for it may still finish
and everybody who asks in that time is answered at once, then it is killed; a thread that sleeps on its pidfd collects
it, however late, so that nothing is left of it.

posix_spawn and not fork: the daemon has threads, and a fork in a threaded Python may copy a held lock.  Output goes to
memory files, not pipes, so that no reader is needed while the command runs.  Needs pidfd_open (Linux 5.3).

Processes of ours share the rule of one at a time through lock files: the command itself holds its key's lock by a
descriptor that it inherits, so the lock is free at the very moment at which the kernel lets go of the command.
"""

import binascii
import fcntl
import os
import resource
import select
import signal
import threading
import time
from typing import Dict, Hashable, NamedTuple, Optional, Tuple

ANSWERED = "answered"
HANGS = "hangs"
BROKEN = "broken"  # the command cannot be started at all

_STEP = 0.02  # seconds between two looks at another process's lock
_LARGEST = 16 * 1024 * 1024  # bytes of output
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class Answer(NamedTuple):
    """What became of a command."""

    state: str  # ANSWERED, HANGS, BROKEN
    status: int = 0  # exit status, or minus the signal that ended it
    output: str = ""
    error: str = ""  # its stderr; for BROKEN why it cannot be started
    seconds: float = 0.0  # since it was started (until it ended)
    since: float = 0.0  # epoch seconds of its start


class _Flight:
    """One process, from its start until its answer is too old."""

    __slots__ = ("argv", "pid", "pidfd", "files", "started", "since", "watchers", "killed", "answer", "ended")

    def __init__(self, argv: Tuple[str, ...]) -> None:
        self.argv = argv
        self.pid = 0
        self.pidfd = -1
        self.files: Tuple[int, ...] = ()
        self.started = time.monotonic()
        self.since = time.time()
        self.watchers = 0  # threads that sleep on pidfd: it must stay open as long
        self.killed = False
        self.answer: Optional[Answer] = None
        self.ended = 0.0


class Commands:
    """Commands by key; for any number of threads."""

    def __init__(self, fresh: float = 1.0, linger: float = 15.0, locks: str = "") -> None:
        """`fresh`: seconds for which an answer is shared; `linger`: see the module's text; `locks`: the directory of the
        lock files, made where it can be, "" = the rules hold within this process only."""
        self._locks = locks
        self._fresh = fresh
        self._linger = linger
        self._lock = threading.Lock()
        self._flights: Dict[Hashable, _Flight] = {}
        self._closed = False

    def run(
        self, key: Hashable, argv: Tuple[str, ...], deadline: float, patience: float = 5.0, memory: int = 0
    ) -> Answer:
        """The answer of `argv` (an absolute path and its arguments), by `deadline` (time.monotonic()) at the latest.

        `memory`: bytes of address space that the command may use, 0 = as many as it likes.
        """
        looks = 0
        while True:
            with self._lock:
                if self._closed:
                    return Answer(BROKEN, error="kvmontap is stopping")
                flight, begun = self._current(key, argv, memory)
                if flight is not None:
                    if flight.answer is not None:
                        return flight.answer
                    flight.watchers += 1
            age = time.monotonic() - begun
            if flight is None:
                # Another process of ours asks.  Its time of start may not be written yet at the first look.
                looks += 1
                if time.monotonic() >= deadline or (looks > 1 and age >= patience):
                    return Answer(HANGS, seconds=age, since=time.time() - age)
                time.sleep(max(0.0, min(_STEP, deadline - time.monotonic())))
                continue
            ended = _wait(flight.pidfd, 0.0 if age >= patience else deadline - time.monotonic())
            with self._lock:
                flight.watchers -= 1
                self._settle(flight, ended)
                if not ended:
                    if not flight.watchers:
                        self._give_up(flight)
                    return Answer(HANGS, seconds=time.monotonic() - flight.started, since=flight.since)
                if flight.argv == argv and not flight.killed and flight.answer is not None:
                    return flight.answer
            # Somebody else's question held the key, or what hung has been killed and is gone: ask anew.

    def close(self) -> None:
        """Kills what still runs and starts no more; what cannot die yet does when the kernel lets go of it."""
        with self._lock:
            self._closed = True
            for flight in self._flights.values():
                self._kill(flight)

    def kill(self, key: Hashable, answer: Answer) -> None:
        """Kills the command that `answer` said hangs, unless it has ended: who waits for it then asks anew."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.since == answer.since:
                self._kill(flight)

    def in_flight(self) -> Tuple[int, ...]:
        """The process ids of the commands that have not ended."""
        with self._lock:
            return tuple(flight.pid for flight in self._flights.values() if flight.answer is None)

    def _current(self, key: Hashable, argv: Tuple[str, ...], memory: int) -> Tuple[Optional[_Flight], float]:
        """The flight to wait for and its start: the one under way, a fresh enough answer to the same question, or a new
        one; None where another process's command holds the key, and that one's start."""
        now = time.monotonic()
        for other in [k for k, f in self._flights.items() if f.answer is not None and now - f.ended > self._fresh]:
            del self._flights[other]
        flight = self._flights.get(key)
        if flight is None or (flight.answer is not None and (flight.argv != argv or flight.killed)):
            lock, since = _take(self._locks, key) if self._locks else (-1, 0.0)
            if since:
                return None, since
            flight = self._flights[key] = _Flight(argv)
            self._start(flight, memory, lock)
            if lock >= 0:  # the command has its own by now
                os.close(lock)
        return flight, flight.started

    def _start(self, flight: _Flight, memory: int, lock: int) -> None:
        files = []
        try:
            for name in ("output", "error"):
                files.append(os.memfd_create("kvmontap-" + name, os.MFD_CLOEXEC))
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, files[0], 1),
                (os.POSIX_SPAWN_DUP2, files[1], 2),
            ]
            if lock >= 0:
                actions.append((os.POSIX_SPAWN_DUP2, lock, 3))
            flight.pid = os.posix_spawn(
                flight.argv[0],
                flight.argv,
                _ENVIRONMENT,
                file_actions=actions,
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
            )
            flight.pidfd = os.pidfd_open(flight.pid)
        except OSError as error:
            flight.ended = time.monotonic()
            flight.answer = Answer(BROKEN, error=error.strerror or str(error), since=flight.since)
            if isinstance(error, ProcessLookupError):
                # SIGCHLD is ignored in this process, and the command ended before it could be watched: its output is there.
                output, told = (_text(file) for file in files)
                flight.answer = Answer(ANSWERED, 0, output, told, flight.ended - flight.started, flight.since)
            for file in files:
                os.close(file)
            return
        flight.files = tuple(files)
        try:
            resource.prlimit(flight.pid, resource.RLIMIT_FSIZE, (_LARGEST, _LARGEST))
            if memory:
                resource.prlimit(flight.pid, resource.RLIMIT_AS, (memory, memory))
        except OSError:  # it has ended already
            pass

    def _settle(self, flight: _Flight, ended: bool) -> None:
        """Collects a process that has ended, once, and closes its descriptors with the last thread that used them."""
        if ended and flight.answer is None:
            flight.ended = time.monotonic()
            output, error = (_text(file) for file in flight.files)
            flight.answer = Answer(
                ANSWERED, _status(flight.pidfd), output, error, flight.ended - flight.started, flight.since
            )
        if flight.answer is not None and not flight.watchers:
            for file in flight.files + ((flight.pidfd,) if flight.pidfd >= 0 else ()):
                os.close(file)
            flight.files, flight.pidfd = (), -1

    def _give_up(self, flight: _Flight) -> None:
        """Nobody waits any more: a thread sees to it that the process ends and is collected."""
        flight.watchers += 1
        try:
            threading.Thread(target=self._bury, args=(flight,), name="kvmontap-bury", daemon=True).start()
        except RuntimeError:  # no thread to be had: the next who asks collects it
            flight.watchers -= 1

    def _bury(self, flight: _Flight) -> None:
        ended = _wait(flight.pidfd, self._linger)
        if not ended:
            with self._lock:
                self._kill(flight)
            ended = _wait(flight.pidfd, None)
        with self._lock:
            flight.watchers -= 1
            self._settle(flight, ended)

    def _kill(self, flight: _Flight) -> None:
        if flight.answer is None:
            flight.killed = True
            try:
                signal.pidfd_send_signal(flight.pidfd, signal.SIGKILL)
            except OSError:  # it has ended just now
                pass


def _take(directory: str, key: Hashable) -> Tuple[int, float]:
    """The key's lock as a descriptor, -1 where no lock can be had at all; or -1 and when its holder was started.

    The time is of the monotonic clock, which all processes share; the file keeps it for those who come later.
    """
    path = os.path.join(directory, f"{binascii.crc32(repr(key).encode('utf-8', 'replace')):08x}.lock")
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return -1, 0.0
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(lock, b"%020.3f" % time.monotonic(), 0)
        return lock, 0.0
    except BlockingIOError:
        try:
            since = float(os.pread(lock, 20, 0))
        except ValueError:
            since = time.monotonic()
        os.close(lock)
        return -1, min(max(since, 0.001), time.monotonic())
    except OSError:
        os.close(lock)
        return -1, 0.0


def _wait(pidfd: int, seconds: Optional[float]) -> bool:
    """Whether the process has ended within so many seconds (None: however long it takes)."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else max(0.0, seconds) * 1000.0))


def _status(pidfd: int) -> int:
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:  # SIGCHLD is ignored in this process: the kernel has collected it for us
        return 0
    if result is None:
        return 0
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _text(file: int) -> str:
    size = os.fstat(file).st_size
    return os.pread(file, size, 0).decode("utf-8", "replace")
