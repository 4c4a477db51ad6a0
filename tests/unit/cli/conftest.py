"""The fixtures of commands that talk to an array over HTTPS."""

from tests.unit.array.over_https import authority, judge, pocket  # noqa: F401
