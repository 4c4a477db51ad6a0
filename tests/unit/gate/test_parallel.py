"""kvmontap.gate.parallel: one deadline for all questions."""

import threading
import time

from kvmontap.gate.parallel import gather


def test_values_and_exceptions_by_key():
    def fails():
        raise KeyError("x")

    answers = gather({"a": lambda: 1, "b": fails}, time.monotonic() + 10)
    assert answers["a"].value == 1 and isinstance(answers["b"].error, KeyError)


def test_who_is_late_is_left_behind():
    go = threading.Event()
    start = time.monotonic()
    answers = gather({"quick": lambda: 1, "late": go.wait}, start + 0.3)
    took = time.monotonic() - start
    go.set()
    assert list(answers) == ["quick"] and 0.3 <= took < 0.3 + 1.0


def test_the_questions_run_at_once():
    meeting = threading.Barrier(8)
    answers = gather({number: lambda: meeting.wait(10) for number in range(8)}, time.monotonic() + 10)
    assert sorted(answer.value for answer in answers.values()) == list(range(8))


def test_no_question_no_wait():
    assert gather({}, 0.0) == {}
