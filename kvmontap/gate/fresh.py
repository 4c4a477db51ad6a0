"""What the arrays said a moment ago, for the starts that come right after: one question in flight per pool, however many ask.

An answer serves for ten seconds, unless an event says that something has changed, and is asked anew in the background once half of
that is over, so that of 200 VMs that start one after the other only the first waits for the array.  Only good news is kept: what would
keep a VM down is asked for by the one that is kept down, or shared with those who asked while the question was under way.
"""

import threading
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from kvmontap.array import VolumeLook
from kvmontap.model import FAILED, UNKNOWN, Array, Gate, Pool
from kvmontap.reasons import finding

AGE = 10.0  # seconds for which good news is news
AHEAD = 5.0  # seconds after which whoever uses it has it asked for again
LEAST = 0.5  # seconds that have to be left for a question of one's own

Look = Callable[[Array, Pool, float], VolumeLook]


class _Kept(NamedTuple):
    about: Tuple[Array, Pool]
    answer: VolumeLook
    asked: float


class _Flight:
    """One question that is under way."""

    __slots__ = ("about", "change", "answer")

    def __init__(self, about: Tuple[Array, Pool], change: int) -> None:
        self.about = about
        self.change = change
        self.answer: Optional[VolumeLook] = None


class Fresh:
    """The arrays' answers; for any number of threads.

    ask(array, pool, deadline) asks the array, by `deadline` (time.monotonic())."""

    def __init__(self, ask: Look, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._ended = threading.Condition()
        self._kept: Dict[str, _Kept] = {}
        self._flights: Dict[str, _Flight] = {}
        self._change = 0

    def look(self, array: Array, pool: Pool, deadline: float) -> VolumeLook:
        """What the array says of the pool's volume, by `deadline`."""
        about = (array, pool)
        while True:
            with self._ended:
                kept = self._kept.get(pool.name)
                if kept is not None and kept.about == about and self._clock() - kept.asked <= AGE:
                    if self._clock() - kept.asked > AHEAD:
                        self._in_background(array, pool)
                    return kept.answer
                flight = self._flights.get(pool.name)
                if flight is None:
                    flight = self._flights[pool.name] = _Flight(about, self._change)
                    break
                change = self._change
                if not self._ended.wait_for(lambda one=flight: self._flights.get(pool.name) is not one, deadline - self._clock()):
                    return _late(array)
                # What was asked before something changed may be an answer from before.
                if flight.answer is not None and _question(flight.about) == _question(about) and flight.change == change:
                    return flight.answer
            if deadline - self._clock() < LEAST:
                return _late(array)
        return self._fly(flight, array, pool, deadline)

    def now(self, array: Array, pool: Pool, deadline: float) -> VolumeLook:
        """As look(), never an answer that was given before the call."""
        with self._ended:
            self._kept.pop(pool.name, None)
        return self.look(array, pool, deadline)

    def changed(self) -> None:
        """Something happened: what is known counts no more."""
        with self._ended:
            self._change += 1
            self._kept.clear()

    def _in_background(self, array: Array, pool: Pool) -> None:
        if pool.name in self._flights:
            return
        flight = self._flights[pool.name] = _Flight((array, pool), self._change)
        try:
            threading.Thread(target=self._fly, args=(flight, array, pool, self._clock() + array.timeout),
                             name="kvmontap-ahead", daemon=True).start()  # fmt: skip
        except RuntimeError:  # no thread to be had: whoever comes when the answer is old asks
            del self._flights[pool.name]

    def _fly(self, flight: _Flight, array: Array, pool: Pool, deadline: float) -> VolumeLook:
        asked = self._clock()
        try:
            flight.answer = self._ask(array, pool, deadline)
            return flight.answer
        finally:
            with self._ended:
                del self._flights[pool.name]
                self._kept.pop(pool.name, None)
                if flight.answer is not None and flight.change == self._change and _good(flight.answer):
                    self._kept[pool.name] = _Kept((array, pool), flight.answer, asked)
                self._ended.notify_all()


def _question(about: Tuple[Array, Pool]) -> Tuple[Array, Pool]:
    """What an array is asked, without what is made of the answer: the keeper's question (kvmontap.daemon.keeper) is also a start's."""
    array, pool = about
    return array, pool._replace(gate=Gate())


def _good(answer: VolumeLook) -> bool:
    return answer.ref is not None and all(one.health not in (FAILED, UNKNOWN) for one in answer.findings)


def _late(array: Array) -> VolumeLook:
    said = "the question that is under way has no answer yet"
    return VolumeLook(None, (finding("array.no-answer", array=array.name, address=array.address, error=said),))
