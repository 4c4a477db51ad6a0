"""The client that libvirt's qemu hook runs: sends the event to kvmontapd, waits with a deadline, says why not.

Only `prepare begin` and `migrate begin` decide.  Every other operation succeeds at once and in silence, `restore` and
`reconnect` above all: libvirt deletes a managed-save image, or kills a running VM, when those fail.

Imports os, sys, time, _socket and the wire format; everything else is loaded only where there is no daemon.
`socket` is left out on purpose: it costs as much as the rest of this process (selectors, enum).

By hand: `python3 -m kvmontap.hook NAME OP SUBOP EXTRA < domain.xml`; KVMONTAP_CONF=FILE stands in for
/etc/kvmontap.conf and KVMONTAP_SOCKET=PATH for the daemon's socket.  With KVMONTAP_CONF alone no daemon is asked, since
the one that runs has read another file.
"""

import os
import sys
import time

CONF = "/etc/kvmontap.conf"
SOCKET = "/run/kvmontap/kvmontapd.sock"
# A running daemon says `wait` within milliseconds; one that is being started by the socket on a slow or busy host takes a
# second or three, and would be slower still beside a hook that does the same.  After this long we do the work ourselves.
FIRST_WORD = 4.0
GRACE = 0.4  # seconds after an announced time until the daemon counts as gone
LEAST = 1.0  # seconds that the daemonless path gets, however late it is called in


def main(argv=None):
    """Run the hook and end the process: 0 allowed, 1 refused, 2 usage.  Nothing ever goes to stdout."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = run(arguments)
    except Exception as error:  # noqa: BLE001 - see decide_here
        log_fault(arguments, error)
        code = 0
    # Not sys.exit(): a thread that waits for a hung mount must not keep the VM's lock with us.
    os._exit(code)


def run(argv):
    """The hook without the end of the process; returns the exit status."""
    started = time.monotonic()
    if len(argv) < 3:
        say(2, "usage: python3 -m kvmontap.hook NAME OP SUBOP EXTRA < domain.xml")
        return 2
    if argv[1:3] not in (["prepare", "begin"], ["migrate", "begin"]):
        return 0
    name, op, subop = argv[:3]
    extra = argv[3] if len(argv) > 3 else "-"
    xml = read_all(0)
    answer = None
    if "KVMONTAP_SOCKET" in os.environ or "KVMONTAP_CONF" not in os.environ:
        answer = ask(os.environ.get("KVMONTAP_SOCKET", SOCKET), (name, op, subop, extra), xml)
    if answer is None:
        answer = decide_here((name, op, subop, extra), xml, started)
    allow, sentence = answer
    if allow:
        return 0
    say(2, sentence or f"kvmontap: VM {name} is refused, see journalctl -u kvmontapd")
    return 1


def ask(path, event, xml):
    """(allow, sentence) from the daemon at `path`; None where none answers as it should."""
    from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM, socket

    from kvmontap.gate import wire

    end = time.monotonic() + FIRST_WORD
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.settimeout(FIRST_WORD)
        connection.connect(path)
        connection.sendall(wire.request(*event, wire.LONGEST, xml))
        connection.shutdown(SHUT_WR)
        data = b""
        told = 0
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            connection.settimeout(left)
            chunk = connection.recv(65536)
            data += chunk
            waits, allow, sentence = wire.parse_reply(data, not chunk)
            if allow is not None:
                return allow, sentence
            if not chunk or len(data) > 65536:
                return None
            if len(waits) > told:
                told = len(waits)
                end = time.monotonic() + waits[-1] + GRACE
    except (OSError, wire.WireError):
        return None
    finally:
        connection.close()


def decide_here(event, xml, started):
    """(allow, sentence) by this very process.  Whatever fails in here allows the start and is told to the journal:
    a fault of ours must not keep the VMs of a host down that may have nothing to do with us."""
    errors = None
    try:
        # Nothing that we start may inherit libvirt's pipes: it waits until the last copy of them is closed, and a
        # probe of a hung mount cannot be killed.
        errors = os.dup(2)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        from kvmontap.gate import direct

        conf = os.environ.get("KVMONTAP_CONF", CONF)
        run_dir = os.path.dirname(os.environ.get("KVMONTAP_SOCKET", SOCKET))
        return direct.decide(event, xml, conf, run_dir, started, LEAST)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        log_fault(event, error)
        return True, ""
    finally:
        if errors is not None:
            os.dup2(errors, 2)


def log_fault(event, error):
    """One line in the system log, through nothing that could itself be what is broken."""
    try:
        import syslog

        syslog.openlog("kvmontap-hook", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(
            syslog.LOG_ERR,
            f"VM {event[0]} was let through unchecked, kvmontap itself failed: {type(error).__name__}: {error}",
        )
    except Exception:  # noqa: BLE001
        pass


def read_all(number):
    """Everything from a file descriptor; b"" when it is closed."""
    chunks = []
    try:
        while True:
            chunk = os.read(number, 1 << 20)
            if not chunk:
                break
            chunks.append(chunk)
    except OSError:
        pass
    return b"".join(chunks)


def say(number, sentence):
    """One line; a reader that has gone away is no error of ours."""
    line = " ".join(sentence.split()) + "\n"
    try:
        os.write(number, line.encode("utf-8", "surrogateescape"))
    except OSError:
        pass


if __name__ == "__main__":
    main()
