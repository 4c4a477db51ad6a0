"""Keeps the arrays' slow answers (kvmontap.array.standing) between two looks; no start ever waits for them.

kvmontapd has them refreshed every five minutes in a thread of their own, each array asked side by side, and every judgement of a pool
then takes in what is remembered.  `kvmontap status` asks at once.
"""

import threading
import time
from typing import Callable, Dict, Optional, Tuple

from kvmontap.array import standing
from kvmontap.array.state import VolumeLook
from kvmontap.gate.configured import Configured
from kvmontap.gate.parallel import gather
from kvmontap.host import identity
from kvmontap.model import FC, ISCSI, NVME, Array, Config, Finding, Pool

EVERY = 300.0  # seconds between two looks
SLACK = 0.5


class Standings:
    """The last answers of each array; for any number of threads.

    client(array) gives the kvmontap.array.Client to ask through."""

    def __init__(self, client: Callable[[Array], object], clock: Callable[[], float] = time.monotonic, root: str = "/") -> None:
        """`root`: where this host's names are read."""
        self._client = client
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: Dict[str, standing.Standing] = {}
        self._asked: Optional[float] = None
        self._under_way = False

    def refresh(self, config: Config) -> None:
        """Asks every array, for no longer than its own timeout.  What an array said before stands until it answers again."""
        until = {name: time.monotonic() + array.timeout for name, array in config.arrays.items()}
        questions = {
            name: lambda array=array: standing.ask(self._client(array), config.pools.values(), until[array.name])
            for name, array in config.arrays.items()
        }
        answers = gather(questions, max(until.values(), default=0.0) + SLACK)
        told = {name: answer.value for name, answer in answers.items() if answer.error is None}
        with self._lock:
            before = {name: self._answers[name] for name in self._answers if name in config.arrays}
            self._answers = {**before, **{name: standing.over(one, before.get(name, one)) for name, one in told.items()}}

    def findings(self, pool: Pool, look: Optional[VolumeLook]) -> Tuple[Finding, ...]:
        """What the last answers mean for a pool, of whose volume `look` is known.  Asks nobody."""
        with self._lock:
            answers = dict(self._answers)
        names = initiators(pool.protocol, self._root) if look is not None and look.block else ()
        return standing.judge(pool, look, answers, names)

    def skipped(self, array: str) -> Tuple[str, ...]:
        """What an array was not asked, or did not answer, at the last look."""
        with self._lock:
            answer = self._answers.get(array)
        return answer.skipped if answer is not None else ()

    def use(self, found: Configured, *_: object) -> None:
        """Have the answers refreshed in the background where they are too old; returns at once."""
        with self._lock:
            if self._under_way or (self._asked is not None and self._clock() - self._asked < EVERY):
                return
            self._under_way, self._asked = True, self._clock()
        try:
            threading.Thread(target=self._refreshed, args=(found.config,), name="kvmontap-standing", daemon=True).start()
        except RuntimeError:  # no thread to be had: the next look tries again
            with self._lock:
                self._under_way, self._asked = False, None

    def _refreshed(self, config: Config) -> None:
        try:
            self.refresh(config)
        finally:
            with self._lock:
                self._under_way = False


def initiators(protocol: str, root: str = "/") -> Tuple[str, ...]:
    """The names by which an array knows this host for a protocol."""
    known = identity.read(root)
    if protocol == FC:
        return tuple(port.wwpn for port in known.ports)
    return tuple(filter(None, (known.iqn if protocol == ISCSI else known.nqn if protocol in NVME else "",)))
