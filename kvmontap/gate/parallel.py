"""Several questions at once, one deadline for all: whoever is late is left behind, never waited for."""

import queue
import threading
import time
from typing import Callable, Dict, Hashable, NamedTuple, Optional


class Answer(NamedTuple):
    """What one question gave: a value, or the exception that it ended with."""

    value: object = None
    error: Optional[BaseException] = None


def gather(questions: Dict[Hashable, Callable[[], object]], until: float) -> Dict[Hashable, Answer]:
    """Ask all `questions`, each in a thread of its own; the answers that are there at `until` (time.monotonic()).

    A question must end by itself in bounded time; one that is late loses only its answer.
    """
    answered: "queue.SimpleQueue" = queue.SimpleQueue()

    def ask(key: Hashable, question: Callable[[], object]) -> None:
        try:
            answered.put((key, Answer(question())))
        except BaseException as error:  # noqa: BLE001 - told to the one who asked
            answered.put((key, Answer(None, error)))

    for key, question in questions.items():
        try:
            threading.Thread(target=ask, args=(key, question), daemon=True).start()
        except RuntimeError as error:  # no thread to be had
            answered.put((key, Answer(None, error)))
    answers: Dict[Hashable, Answer] = {}
    while len(answers) < len(questions):
        try:
            key, answer = answered.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        answers[key] = answer
    return answers
