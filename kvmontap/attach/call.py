"""What the template units say and raise; programs are run by kvmontap.program."""

import sys

from kvmontap.program import PATH, Done, call

__all__ = ["PATH", "AttachError", "Done", "call", "say"]


class AttachError(Exception):
    """One sentence: what cannot be attached or detached, why, what to do."""


def say(text: str) -> None:
    """One line for the journal."""
    print(f"kvmontap: {text}", file=sys.stderr, flush=True)
