"""Real file systems for the probes: a FUSE one that hangs on command."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


class Fuse:
    """A mounted fuse_server.py."""

    def __init__(self, target):
        self.target = str(target)
        self._server = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "fuse_server.py"), self.target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._server.stdout.readline() == "mounted\n"

    def tell(self, line):
        """The number of statfs requests that the server has seen."""
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        self._server.stdout.read()
        self._server.stdout.close()
        assert self._server.wait() == 0


@pytest.fixture
def fuse(tmp_path):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("a hanging file system needs root and /dev/fuse")
    target = tmp_path / "pool"
    target.mkdir()
    server = Fuse(target)
    yield server
    server.close()
