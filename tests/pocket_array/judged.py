"""An array whose every exchange is judged: a test that breaks the description fails."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Optional

from .array import PocketArray
from .judge import Judge


@contextlib.contextmanager
def judged_array(description: Optional[dict] = None, **options: Any) -> Iterator[PocketArray]:
    """A started PocketArray; AssertionError at the end for each violation.

    Where the description is not at hand nothing is judged (`array.judge` is None).
    """
    judge = Judge.at_hand()
    observers = tuple(options.pop("observers", ())) + ((judge,) if judge else ())
    with PocketArray(description, observers=observers, **options) as array:
        array.judge = judge
        yield array
    if judge and judge.violations:
        listed = "\n".join(f"  {each}" for each in judge.violations)
        raise AssertionError(f"against ONTAP's description:\n{listed}")
