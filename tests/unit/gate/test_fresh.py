"""The arrays' answers for some seconds: shared, asked ahead, never kept when they are bad."""

import threading
import time

import pytest

from kvmontap.array import VolumeLook, VolumeRef
from kvmontap.gate.fresh import AGE, AHEAD, Fresh
from kvmontap.model import Array, Pool
from kvmontap.reasons import finding

ARRAY = Array("prod", "192.0.2.1")
POOL = Pool("p1", "nfs", ontap="prod")
REF = VolumeRef("u", "v", "s", "su")
GOOD = VolumeLook(REF)
LOW = VolumeLook(REF, (finding("lif.not-home", lif="l", address="a", svm="s"),))
BAD = VolumeLook(REF, (finding("volume.offline", volume="v", state="offline", array="prod", svm="s"),))
DEAD = VolumeLook(None, (finding("array.no-answer", array="prod", address="a", error="e"),))


class Arrays:
    """An array that counts, and answers when it is let."""

    def __init__(self, answer):
        self.answer, self.asked, self.let = answer, 0, threading.Event()
        self.let.set()

    def __call__(self, array, pool, deadline):
        self.asked += 1
        said = self.answer
        self.let.wait(max(0.0, deadline - time.monotonic()))
        return said


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def soon():
    return time.monotonic() + 20


@pytest.mark.parametrize("answer,kept", [(GOOD, True), (LOW, True), (BAD, False), (DEAD, False)])
def test_only_good_news_is_kept(answer, kept):
    array = Arrays(answer)
    fresh = Fresh(array)
    assert [fresh.look(ARRAY, POOL, soon()) for _ in range(3)] == [answer] * 3
    assert array.asked == (1 if kept else 3)


def test_for_some_seconds_and_asked_ahead():
    array, clock = Arrays(GOOD), Clock()
    fresh = Fresh(array, clock)
    fresh.look(ARRAY, POOL, clock.now + 5)
    clock.now += AHEAD + 0.1
    array.let.clear()
    # Nobody waits for the question that is asked ahead.
    assert fresh.look(ARRAY, POOL, clock.now + 5) == GOOD
    until(lambda: array.asked == 2)
    assert fresh.look(ARRAY, POOL, clock.now + 5) == GOOD and array.asked == 2
    array.let.set()
    until(lambda: not fresh._flights)
    clock.now += AGE + 0.1
    array.answer = BAD
    assert fresh.look(ARRAY, POOL, clock.now + 5) == BAD and array.asked == 3


def test_other_settings_are_another_question():
    array = Arrays(GOOD)
    fresh = Fresh(array)
    fresh.look(ARRAY, POOL, soon())
    fresh.look(ARRAY, POOL._replace(volume="w"), soon())
    fresh.look(ARRAY._replace(svm="t"), POOL._replace(volume="w"), soon())
    assert array.asked == 3


def test_after_a_change_nothing_old_counts():
    array = Arrays(GOOD)
    fresh = Fresh(array)
    fresh.look(ARRAY, POOL, soon())
    fresh.changed()
    array.answer = BAD
    assert fresh.look(ARRAY, POOL, soon()) == BAD
    array.answer = GOOD
    assert fresh.look(ARRAY, POOL, soon()) == GOOD
    array.answer = BAD
    assert fresh.look(ARRAY, POOL, soon()) == GOOD and fresh.now(ARRAY, POOL, soon()) == BAD


def test_twenty_at_once_are_one_question():
    array = Arrays(BAD)
    fresh = Fresh(array)
    array.let.clear()
    said = []
    threads = [threading.Thread(target=lambda: said.append(fresh.look(ARRAY, POOL, soon()))) for _ in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: array.asked == 1)
    time.sleep(0.1)
    array.let.set()
    for thread in threads:
        thread.join()
    # Who came too late for the first question asks a second one.
    assert said == [BAD] * 20 and array.asked <= 2


def test_a_start_shares_the_keepers_question_and_keeps_its_own_answer():
    array = Arrays(BAD)
    fresh = Fresh(array)
    array.let.clear()
    warn = POOL._replace(gate=POOL.gate._replace(mode="warn"))
    said = []
    threads = [threading.Thread(target=lambda pool=pool: said.append(fresh.look(ARRAY, pool, soon()))) for pool in (warn, POOL)]
    threads[0].start()
    until(lambda: array.asked == 1)
    threads[1].start()
    time.sleep(0.1)
    array.let.set()
    for thread in threads:
        thread.join()
    assert said == [BAD, BAD] and array.asked == 1
    # What the keeper found a moment ago is no start's answer.
    array.answer = GOOD
    assert fresh.look(ARRAY, warn, soon()) == GOOD and array.asked == 2
    array.answer = BAD
    assert fresh.look(ARRAY, POOL, soon()) == BAD and array.asked == 3


def test_nobody_waits_beyond_the_own_deadline():
    array = Arrays(GOOD)
    fresh = Fresh(array)
    array.let.clear()
    first = threading.Thread(target=fresh.look, args=(ARRAY, POOL, soon()))
    first.start()
    until(lambda: array.asked == 1)
    began = time.monotonic()
    (said,) = fresh.look(ARRAY, POOL, began + 0.3).findings
    assert said.code == "array.no-answer" and time.monotonic() - began < 5
    array.let.set()
    first.join()


def test_an_answer_from_before_a_change_is_asked_anew():
    array = Arrays(GOOD)
    fresh = Fresh(array)
    array.let.clear()
    said = []
    threads = [threading.Thread(target=lambda: said.append(fresh.look(ARRAY, POOL, soon()))) for _ in range(2)]
    threads[0].start()
    until(lambda: array.asked == 1)
    fresh.changed()
    array.answer = BAD
    threads[1].start()
    time.sleep(0.1)
    array.let.set()
    for thread in threads:
        thread.join()
    assert sorted(said, key=str) == sorted([GOOD, BAD], key=str)


def test_an_error_frees_the_way_for_the_next():
    def broken(array, pool, deadline):
        raise ValueError("no")

    fresh = Fresh(broken)
    for _ in range(2):
        with pytest.raises(ValueError):
            fresh.look(ARRAY, POOL, soon())
