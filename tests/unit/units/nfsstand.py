"""Stand-ins around mount.kvmontap-nfs: addresses that answer, refuse or are silent, and a mount.nfs that keeps a log.

The stand-in mount.nfs plays the kernel's part too: below a root of its own it writes the transports that a mount would make.
"""

import contextlib
import os
import shlex
import socket

MOUNT_NFS = r"""#!/bin/sh
# {answers}: FILE.1, FILE.2, ... hold what the first, second, ... call for a source says: "CODE SECONDS TEXT"
echo "$*" >> {log}
name=$(printf %s "$1" | tr '/:[]' '____')
count=$(cat {state}/$name.count 2>/dev/null || echo 0)
count=$((count + 1)); echo $count > {state}/$name.count
answer="0 0 "
[ -f {answers}/$name ] && answer=$(cat {answers}/$name)
[ -f {answers}/$name.$count ] && answer=$(cat {answers}/$name.$count)
code=${{answer%% *}}; rest=${{answer#* }}; seconds=${{rest%% *}}; text=${{rest#* }}
[ "$seconds" = 0 ] || exec sleep "$seconds"
[ -z "$text" ] || echo "mount.nfs: $text" >&2
[ "$code" = 0 ] || exit "$code"
[ -z "{mounting}" ] || mount -t tmpfs none "$2" || exit 32
address=${{1%%:/*}}
case $(cat {state}/joins 2>/dev/null) in
  *"$address "*) switch={switches}/switch-$(cat {state}/switch) ;;
  *) switch={switches}/switch-$address; [ -f {state}/switch ] || echo "$address" > {state}/switch ;;
esac
mkdir -p "$switch/xprt-$address-tcp"
echo "$address" > "$switch/xprt-$address-tcp/dstaddr"
echo "state=CONNECTED BOUND" > "$switch/xprt-$address-tcp/xprt_state"
echo "dst_port=2049" > "$switch/xprt-$address-tcp/xprt_info"
"""


class Stand:
    """A mount.nfs below `directory`, and what it was called with."""

    def __init__(self, directory, mounting=False):
        self.directory = directory
        self.root = directory / "root"
        self.run = directory / "run"
        for name in ("answers", "state", "run", "root/sys/kernel/sunrpc/xprt-switches", "mnt"):
            (directory / name).mkdir(parents=True)
        (self.root / "proc").symlink_to("/proc")
        self.program = directory / "mount.nfs"
        words = {name: shlex.quote(str(directory / name)) for name in ("log", "answers", "state")}
        switches = shlex.quote(str(self.root / "sys/kernel/sunrpc/xprt-switches"))
        self.program.write_text(MOUNT_NFS.format(mounting="yes" if mounting else "", switches=switches, **words))
        self.program.chmod(0o755)
        self.target = str(directory / "mnt")

    def answer(self, source, code=0, text="", seconds=0, call=None):
        """What mount.nfs does for `source`, at each call or at one."""
        name = source.translate(str.maketrans("/:[]", "____"))
        (self.directory / "answers" / (name if call is None else f"{name}.{call}")).write_text(f"{code} {seconds} {text}")

    def joins(self, *addresses):
        """The addresses whose mounts join the session of the first mount, as those of one NFS server do."""
        (self.directory / "state/joins").write_text("".join(f"{address} " for address in addresses))

    def calls(self):
        """The command lines of mount.nfs."""
        log = self.directory / "log"
        return log.read_text().splitlines() if log.exists() else []

    def sources(self):
        return [line.split(" ")[0] for line in self.calls()]


def free_port():
    """A TCP port on which nothing listens on any loopback address now."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def listening(address, port):
    """An address that takes connections."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(16)
        yield server


@contextlib.contextmanager
def silent(address, port):
    """An address that drops what is sent to it: a listener whose queue is full answers no SYN."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((address, port))
        with socket.socket() as probe:
            probe.settimeout(0.3)
            try:
                probe.connect((address, port))
            except TimeoutError:
                pass
            else:
                raise AssertionError("the queue is not full")
        yield server


def mount_points():
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        return [line.split(" ")[4] for line in stream]


def leftovers(run):
    return os.listdir(run)
