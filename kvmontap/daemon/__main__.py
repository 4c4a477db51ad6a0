"""`python3 -m kvmontap.daemon [--socket PATH] [--config FILE]`: kvmontapd, by systemd's socket or by hand."""

import argparse
import os
import socket
import stat
import sys
from typing import Any, Dict, List, Optional, Set

from kvmontap import applied, hook, service
from kvmontap.daemon import retention, statusline, telling
from kvmontap.daemon.configuration import ConfigurationFile
from kvmontap.daemon.keeper import Keeper
from kvmontap.daemon.measuring import count_snapshots, measured
from kvmontap.daemon.recovering import Recovery
from kvmontap.daemon.requests import serve
from kvmontap.daemon.server import BACKLOG, Duties, Server
from kvmontap.daemon.telling import Telling
from kvmontap.gate import report
from kvmontap.gate.assemble import pipeline
from kvmontap.gate.configured import Configured
from kvmontap.host.changes import Changes
from kvmontap.host.probe import Prober
from kvmontap.host.udev import monitor
from kvmontap.metrics.counting import Counters
from kvmontap.metrics.textfile import Textfile
from kvmontap.model import PoolHealth
from kvmontap.snapshots import Reuse
from kvmontap.snapshots.background import Housekeeper
from kvmontap.snapshots.prune import Report


def main(argv: Optional[List[str]] = None) -> int:
    """Runs until SIGTERM; 0, or 1 where the socket cannot be had."""
    options = parser().parse_args(argv)
    try:
        listeners = opened(options.socket)
    except OSError as error:
        print(f"kvmontapd: {options.socket} cannot be listened on: {error.strerror}; is another one running?", file=sys.stderr)
        return 1
    prober = Prober(locks=os.path.join(os.path.dirname(options.socket), "probes"))
    configuration = ConfigurationFile(options.config, applied.read, tell_configuration)
    configuration.current()
    reuse = Reuse(prober.commands)

    def thinned_out(report: Report) -> None:
        reuse.forget(report.deleted)
        retention.tell(report)

    housekeeper = Housekeeper(thinned_out, retention.fault, mirrored=retention.tell_mirrored)
    counters = Counters()

    def taken(config: Any, requests: Any, outcomes: Any) -> None:
        count_snapshots(outcomes, counters)
        if any(one.finding is not None for one in outcomes):
            line.doctor.fresh.changed()  # the array is otherwise than it said a moment ago
        # While the file is wrong anywhere, nobody knows for certain what it wants kept: a mistyped keep= counts as the default.
        if not configuration.current().problems:
            housekeeper.taken(config, requests, outcomes)

    line = pipeline(configuration.current, os.path.dirname(options.socket), prober, taken, reuse, lasting=True)
    changes = Changes(monitor=monitor())
    recovery = Recovery(configuration.current, line, changes, os.path.dirname(options.socket), options.config)
    # Its first look also warms the connections to the arrays: the first VM is not to wait for the client library and a login.
    uses = (Telling().use, show_status, line.doctor.standing.use, *recovery.uses, Textfile(counters, line.clients, warn).use)
    keeper = Keeper(configuration.current, line.doctor, changes, uses, telling.fault)

    def ready() -> None:
        service.notify("READY=1")
        keeper.start()
        recovery.start()

    def reload() -> None:
        service.reloading()
        configuration.reload()
        changes.call()
        service.notify("READY=1")

    handle = measured(line.handle, counters)
    duties = Duties(
        serve=lambda connection: serve(connection, handle),
        ready=ready,
        reload=reload,
        alive=lambda: service.notify("WATCHDOG=1"),
        stopping=lambda: service.notify("STOPPING=1"),
    )
    Server(listeners, duties, service.watchdog_seconds()).run()
    prober.close()
    # A thread that waits for a hung mount must not keep us: systemd would wait for it in vain.
    os._exit(0)


def warn(said: str) -> None:
    """One line in the journal."""
    service.log(service.WARNING, said)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="kvmontapd", description="Tells libvirt's qemu hook whether a VM's storage is healthy.")
    made.add_argument(
        "--socket",
        metavar="PATH",
        default=os.environ.get("KVMONTAP_SOCKET", hook.SOCKET),
        help="listen here when systemd hands over no socket (default: %(default)s)",
    )
    made.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("KVMONTAP_CONF", hook.CONF),
        help="the configuration (default: %(default)s)",
    )
    return made


def opened(path: str) -> List[socket.socket]:
    """The sockets to serve: systemd's, else one of our own at `path`, mode 0600."""
    handed = service.listening_sockets()
    if handed:
        return [socket.socket(fileno=number) for number in handed]
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        own.connect(path)
    except OSError:
        pass  # nobody serves it
    else:
        raise OSError(0, "somebody answers there")
    finally:
        own.close()
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        own.bind(path)
    finally:
        os.umask(mask)
    own.listen(BACKLOG)
    return [own]


def show_status(found: Configured, healths: Dict[str, PoolHealth], _: Set[str]) -> None:
    """How the pools are, in the service's status line."""
    service.notify(f"STATUS={statusline.line(found, healths)}")


def tell_configuration(found: Configured) -> None:
    """What was read, in the journal and, until the pools have been looked at, in the service's status line."""
    said = statusline.line(found, {})
    priority = service.WARNING if found.problems else service.INFO
    service.log(priority, f"{found.config.path}: {said}", MESSAGE_ID=report.CONFIGURATION)
    for problem in found.problems[:20]:
        service.log(service.WARNING, str(problem), MESSAGE_ID=report.CONFIGURATION)
    service.notify(f"STATUS={said}")


if __name__ == "__main__":
    sys.exit(main())
