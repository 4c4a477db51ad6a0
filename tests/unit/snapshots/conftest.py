"""The fixtures of everything that talks to an array over HTTPS."""

from tests.unit.array.over_https import authority, client, judge, pocket, pool, section  # noqa: F401
