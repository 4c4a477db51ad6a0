"""Real file systems for the probes: a FUSE one that hangs on command, an automount that waits on command."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


class Served:
    """A mount point that a program of this folder serves."""

    def __init__(self, program, target):
        self.target = str(target)
        # A session of its own: autofs lets the server's process group pass without mounting.
        self._server = subprocess.Popen(
            [sys.executable, os.path.join(HERE, program), self.target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )
        assert self._server.stdout.readline() == "mounted\n"

    def tell(self, line):
        """Gives the server a command; the number of questions that it has seen."""
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        self._server.stdout.read()
        self._server.stdout.close()
        assert self._server.wait() == 0


def serve(program, device, tmp_path):
    if os.geteuid() != 0 or not os.access(device, os.R_OK | os.W_OK):
        pytest.skip(f"this file system needs root and {device}")
    target = tmp_path / "pool"
    target.mkdir()
    return Served(program, target)


@pytest.fixture
def fuse(tmp_path):
    server = serve("fuse_server.py", "/dev/fuse", tmp_path)
    yield server
    server.close()


@pytest.fixture
def autofs(tmp_path):
    server = serve("autofs_server.py", "/dev/autofs", tmp_path)
    yield server
    server.close()
