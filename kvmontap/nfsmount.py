"""mount.kvmontap-nfs: mounts an NFS export from the first of several addresses that answers.

mount(8) calls it for file systems of type kvmontap-nfs: `mount.kvmontap-nfs ADDR1,ADDR2:/export DIR [-sfnvrw] [-o OPTIONS]`.  It asks
the NFS port of every address, has mount.nfs do the mount, and with `kvmontap-trunking` sees to a transport to each address
that answers.  Exit codes are mount(8)'s.  Own options, never passed on: kvmontap-wait=SECONDS (how long to go on
asking, 90 unless said), kvmontap-trunking.
"""

import os
import re
import signal
import subprocess
import sys
import time
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from kvmontap import trunk
from kvmontap.answering import Asking
from kvmontap.host import mountinfo
from kvmontap.host.nfs import read as read_switches

NAME = "mount.kvmontap-nfs"
# mount(8)'s exit codes
OK, USAGE, SYSTEM, INTERRUPTED, FAILED = 0, 1, 2, 8, 32

PORT = 2049
GRACE = 1.0  # seconds for an address that stands before the one that answered first
TRUNK_GRACE = 3.0  # seconds for the others to answer when the session is to reach all of them
SHARE = 30.0  # seconds for an address that takes connections but does not mount, while others wait
TLS_GRACE = 15.0  # seconds: tlshd is "started" before it listens, and a mount then fails with all kinds of reasons
AGAIN = 1.0  # pause between two rounds
SILENT = "no answer within"
# mount.nfs's words for what may pass: a server that restarts or moves.
_PASSING = re.compile(r"refused|timed out|no route|unreachable|reset|host is down|temporarily|stale", re.IGNORECASE)
_SPEC = re.compile(r"((?:\[[^\]]+\]|[^,:\[\]]+)(?:,(?:\[[^\]]+\]|[^,:\[\]]+))*):(/.*)", re.DOTALL)
# Only for the first mount of a session; a remount with them is refused.
_FIRST_ONLY = ("trunkdiscovery", "max_connect")


class UsageError(Exception):
    """Arguments that mount(8) would not give."""


class Tools(NamedTuple):
    """What this program calls and looks at."""

    mount_nfs: Tuple[str, ...] = ("/usr/sbin/mount.nfs", "/sbin/mount.nfs")
    unshare: str = "/usr/bin/unshare"
    root: str = "/"
    run: str = "/run"


class Request(NamedTuple):
    """What is to be mounted."""

    hosts: Tuple[str, ...]  # without brackets
    export: str
    directory: str
    flags: Tuple[str, ...] = ()  # -s, -n, -v, -r, -w, as mount.nfs takes them
    fake: bool = False
    options: Tuple[str, ...] = ()  # without our own
    wait: float = 90.0  # seconds
    trunking: bool = False

    def value(self, name: str) -> Optional[str]:
        """The last value of an option, "" where it has none, None where it is not given."""
        found = [value for head, _, value in (one.partition("=") for one in self.options) if head == name]
        return found[-1] if found else None

    @property
    def rdma(self) -> bool:
        return (self.value("proto") or "").startswith("rdma") or self.value("rdma") is not None

    @property
    def port(self) -> int:
        typed = self.value("port") or ""
        return int(typed) if typed.isdigit() and 0 < int(typed) < 65536 else PORT


def parse(arguments: Sequence[str]) -> Request:
    """The request in mount(8)'s arguments (without the program's name); raises UsageError."""
    plain: List[str] = []
    flags: List[str] = []
    options: List[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-o", "-t"):
            if not rest:
                raise UsageError(f"{word} needs a value")
            value = rest.pop(0)
            options += value.split(",") if word == "-o" else []
        elif word.startswith("-o"):
            options += word[2:].split(",")
        elif word.startswith("-") and len(word) > 1:
            flags += [f"-{letter}" for letter in word[1:]]
        else:
            plain.append(word)
    unknown = [flag for flag in flags if flag not in ("-s", "-f", "-n", "-v", "-r", "-w")]
    if unknown or len(plain) != 2:
        raise UsageError(f"does not know {unknown[0]}" if unknown else "needs a source and a directory")
    found = _SPEC.fullmatch(plain[0])
    if not found:
        raise UsageError(f"cannot read the source {plain[0]!r}; write ADDRESS,ADDRESS:/export, IPv6 in brackets")
    hosts = tuple(dict.fromkeys(host.strip("[]") for host in re.findall(r"\[[^\]]+\]|[^,]+", found.group(1))))
    return _own(Request(hosts, found.group(2), plain[1], tuple(one for one in flags if one != "-f"), "-f" in flags), options)


def _own(request: Request, options: List[str]) -> Request:
    """`request` with its options, ours taken out of them."""
    kept = []
    for option in filter(None, options):
        head, _, value = option.partition("=")
        if head == "kvmontap-wait":
            try:
                request = request._replace(wait=float(value))
            except ValueError:
                raise UsageError(f"takes seconds in {head}=, not {value!r}") from None
        elif head == "kvmontap-trunking":
            request = request._replace(trunking=True)
        elif head.startswith("kvmontap-"):
            raise UsageError(f"has no option {head}")
        else:
            kept.append(option)
    return request._replace(options=tuple(kept))


def source(host: str, export: str) -> str:
    """host:/export as mount.nfs takes it."""
    return f"[{host}]:{export}" if ":" in host else f"{host}:{export}"


def command(request: Request, host: str, mount_nfs: str, directory: str = "", second: bool = False) -> List[str]:
    """mount.nfs's arguments for one address; `second` = only for the sake of its transport."""
    options = [one for one in request.options if not (second and one.partition("=")[0] == "trunkdiscovery")]
    # mount.nfs has a netid for each address family.
    options = [one + "6" if one == "proto=rdma" and ":" in host else one for one in options]
    if request.value("retry") is None:
        options.append("retry=0")  # asking again is our business
    flags = list(request.flags) + (["-n"] if second and "-n" not in request.flags else [])
    return [mount_nfs, source(host, request.export), directory or request.directory, *flags, "-o", ",".join(options)]


def call(words: Sequence[str], timeout: float) -> Tuple[int, str]:
    """(exit code, what it said) of a mount program, ended after `timeout` seconds."""
    # Not a pipe: a daemon that mount.nfs starts (rpc.statd) may keep it open for ever.
    with open(os.memfd_create(NAME), "w+b") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"}
        )
        for number, patience in ((None, max(0.1, timeout)), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            if number is not None:
                process.send_signal(number)
            try:
                code = process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            output.seek(0)
            text = output.read().decode("utf-8", "replace").strip()
            return (code if code >= 0 else FAILED, text) if number is None else (FAILED, f"{SILENT} {timeout:.0f} s")
    return FAILED, f"{SILENT} {timeout:.0f} s, and the mount cannot be ended"


def reason(text: str) -> str:
    """The last thing mount.nfs said, without its name: one clause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^mount\.nfs4?: *", "", lines[-1]) if lines else "it gave no reason"


def mounted(request: Request, root: str) -> Optional[mountinfo.Mount]:
    """The NFS mount on the directory, None where there is none."""
    path = os.path.realpath(request.directory)
    here = [mount for mount in mountinfo.read(root) if mount.where == path]
    return here[-1] if here and here[-1].fstype.startswith("nfs") else None


class Round(NamedTuple):
    """What came of trying the addresses that answered."""

    code: int
    host: str = ""  # the one that was mounted
    reasons: Tuple[str, ...] = ()  # "HOST: why", of the others
    passing: bool = False  # whether another round may do better


def try_each(
    request: Request, hosts: Sequence[str], tools: Tools, mount_nfs: str, started: float, earlier: Round = Round(FAILED)
) -> Round:
    """mount.nfs from each of `hosts` until one mounts; `earlier` is what others came to in this round."""
    deadline = started + request.wait
    reasons = list(earlier.reasons)
    passing = earlier.passing
    code = FAILED
    for host in hosts:
        left = max(1.0, deadline - time.monotonic())
        waiting = len(request.hosts) - len(reasons) - 1  # also those that have not answered: they may yet
        code, text = call(command(request, host, mount_nfs), min(SHARE, left / (waiting + 1)) if waiting else left)
        if code and text.startswith(SILENT) and mounted(request, tools.root):
            code = OK  # ended when its work was done
        if code == OK:
            if "-v" in request.flags and text:
                print(text)
            return Round(OK, host, tuple(reasons))
        # mount.nfs repeats what stands at the sentence's begin already.
        why = reason(text).replace(f" for {source(host, request.export)} on {request.directory}", "")
        reasons.append(f"{host}: {why}")
        passing = passing or bool(_PASSING.search(why))
    soon = request.value("xprtsec") not in (None, "none") and time.monotonic() - started < TLS_GRACE
    return Round(code, "", tuple(reasons), passing or soon)


def mount(request: Request, tools: Tools, mount_nfs: str) -> int:
    """The whole work; what cannot be had is said in one sentence on stderr."""
    started = time.monotonic()
    deadline = started + request.wait
    before = read_switches(tools.root) if request.trunking else {}
    # RDMA has no port that could be asked.
    with Asking(() if request.rdma else request.hosts, request.port) as asking:
        while True:
            hosts = request.hosts if request.rdma else asking.answers(deadline, GRACE)
            if not hosts:
                silent = "; ".join(f"{host}: {asking.error(host)}" for host in request.hosts)
                return _fail(request, f"no address answers on TCP port {request.port} (asked for {request.wait:.0f} s): {silent}; check"
                             " the network and the SVM's data LIFs")
            asked = request if _all_answer(request, asking, deadline) else undiscovering(request)
            result = try_each(asked, hosts, tools, mount_nfs, started)
            # Those that stand behind the first in the list have not been waited for yet.
            if result.code != OK and not request.rdma:
                later = [host for host in asking.answers(deadline, GRACE, every=True) if host not in hosts]
                result = try_each(asked, later, tools, mount_nfs, started, result) if later else result
            if result.code == OK:
                break
            if not result.passing or time.monotonic() + AGAIN >= deadline:
                return _fail(request, "; ".join(result.reasons) + _hint(request, result), result.code)
            time.sleep(AGAIN)
        if request.trunking:
            _complete(request, result.host, asking, before, tools, mount_nfs, deadline)
    return OK


def _all_answer(request: Request, asking: Asking, deadline: float) -> bool:
    """Whether trunkdiscovery can do no harm, since every address has answered within TRUNK_GRACE of the first."""
    if request.rdma or not request.trunking:
        return True
    return len(asking.answers(deadline, TRUNK_GRACE, every=True)) == len(request.hosts)


def undiscovering(request: Request) -> Request:
    """`request` without trunkdiscovery.

    With it the kernel connects to every address that the server tells, one after the other, before the mount comes back: three
    minutes for one whose packets vanish.  _complete() sees to those that answer all the same."""
    return request._replace(options=tuple(one for one in request.options if one.partition("=")[0] != "trunkdiscovery"))


def _complete(request: Request, host: str, asking: Asking, before: Dict, tools: Tools, mount_nfs: str, deadline: float) -> None:
    """A transport to each address that answers; the mount is there whatever comes of it."""
    try:
        answering = request.hosts if request.rdma else asking.answers(deadline, 0.0, every=True)  # they have had their time
        silent = [f"no transport to {one}: {asking.error(one)}" for one in request.hosts if one not in answering]
        mount_ = mounted(request, tools.root)
        first = (mount_.option("addr") if mount_ else "") or asking.address(host) or host
        others = {one: asking.address(one) or one for one in answering if one != host}

        def mounter(other: str, directory: str, front: Tuple[str, ...], seconds: float) -> Tuple[int, str]:
            code, text = call([*front, *command(request, other, mount_nfs, directory, second=True)], seconds)
            return code, reason(text) if code else ""

        missing = silent + trunk.complete(first, others, before, mounter, deadline, tools.root, tools.run, tools.unshare)
        if missing:
            _say(f"{request.directory} is mounted from {host}, with {'; '.join(missing)}")
    except Exception as error:  # the storage is there: nothing that goes wrong here may take it away
        _say(f"{request.directory} is mounted from {host}, but its trunking failed: {type(error).__name__}: {error}")


def _hint(request: Request, result: Round) -> str:
    said = " ".join(result.reasons)
    if request.value("xprtsec") not in (None, "none") and "No such process" in said:
        return "; RPC over TLS needs tlshd: install ktls-utils and start tlshd.service"
    return ""


def remount(request: Request, tools: Tools, mount_nfs: str) -> int:
    """`mount -o remount`, which `systemctl reload` calls: from the address that is mounted."""
    here = mounted(request, tools.root)
    if here is None:
        return _fail(request, "it is not mounted, so it cannot be remounted")
    options = [one for one in request.options if one.partition("=")[0] not in _FIRST_ONLY]
    code, text = call([mount_nfs, here.what, request.directory, *request.flags, "-o", ",".join(options)], request.wait)
    return _fail(request, reason(text), code) if code else OK


def _fail(request: Request, why: str, code: int = FAILED) -> int:
    _say(f"cannot mount {request.export} on {request.directory}: {why}")
    return code


def _say(text: str) -> None:
    print(f"{NAME}: {text}", file=sys.stderr)


def main(argv: Sequence[str], tools: Tools = Tools()) -> int:
    """mount(8)'s helper; returns its exit code."""
    try:
        request = parse(argv[1:])
        if request.fake:
            return OK
        mount_nfs = next((path for path in tools.mount_nfs if os.access(path, os.X_OK)), "")
        if not mount_nfs:
            return _fail(request, "mount.nfs is not installed; install nfs-common (Debian) or nfs-utils")
        return (remount if request.value("remount") is not None else mount)(request, tools, mount_nfs)
    except UsageError as error:
        _say(f"{error}; it is called by mount -t kvmontap-nfs ADDRESS,ADDRESS:/export DIRECTORY")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        _say(f"{error.filename or 'the mount'}: {error.strerror or error}")
        return SYSTEM
