"""The fixtures of everything that talks to an array over HTTPS, and a file system that falls silent."""

from tests.unit.array.over_https import authority, judge, pocket  # noqa: F401
from tests.unit.host.conftest import fuse  # noqa: F401
