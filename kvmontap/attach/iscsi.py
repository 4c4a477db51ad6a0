"""iSCSI: a session to every portal of a pool's targets (through each of its interfaces), and the end of those that we began.

All LIFs of an SVM share one IQN, so a session counts for its portal: "logged in to the target" says nothing.
"""

import os
import time
from typing import Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple

from kvmontap.attach import inuse, ledger, noderecord
from kvmontap.attach.call import AttachError, Done, call, say
from kvmontap.attach.portals import Portal, answering, unreachable
from kvmontap.config.secrets import SecretError, read_pairs
from kvmontap.host import san
from kvmontap.host.address import is_address
from kvmontap.model import Pool

KIND = "iscsi"
ADM = "/usr/sbin/iscsiadm"
NODES = ("/var/lib/iscsi/nodes", "/etc/iscsi/nodes")  # Debian 13 and newer Fedora; Debian 12
SECONDS = 40.0  # for one call: iscsiadm itself gives up a login after 15 s, twice
AGAIN = 1.0  # pause between two questions
# iscsiadm(8), EXIT STATUS
_EXISTS, _AUTHORISATION, _LOGIN, _NO_RECORD, _TIMEOUT = 15, 24, 19, 21, 8


class Way(NamedTuple):
    """One session to be: a target at a portal."""

    target: str
    portal: Portal
    tag: str  # target portal group
    interface: str = ""  # open-iscsi's record of a network interface, "" = the routing decides

    @property
    def key(self) -> str:
        return f"{self.target} {self.portal.endpoint}" + (f" {self.interface}" if self.interface else "")


def start(pool: Pool, deadline: float) -> None:
    """Sessions to every portal that answers; AttachError where the pool has none afterwards."""
    if not os.path.exists(ADM):
        raise AttachError("iscsiadm is not installed; install open-iscsi (Debian) or iscsi-initiator-utils")
    chap = _chap(pool)
    portals, silent = answering(pool.portals, (san.ISCSI_PORT,), deadline)
    for name, why in silent.items():
        say(f"pool {pool.name}: portal {name} does not answer ({why}); going on with the others")
    ways = _bound(pool, _ways(pool, portals, deadline), deadline) if pool.interfaces else _ways(pool, portals, deadline)
    problems: List[str] = []
    with ledger.opened(KIND) as book:
        there = _there()
        for way in ways:
            made = False
            if way.key not in there:
                problem = _login(way, chap, pool)
                if problem:
                    problems.append(problem)
                    continue
                made = True
            book.use(way.key, pool.name, made)
    for problem in dict.fromkeys(problems):
        say(f"pool {pool.name}: {problem}")
    if len(problems) == len(ways):
        raise AttachError("; ".join(dict.fromkeys(problems)))


def stop(name: str) -> None:
    """End the sessions that only this pool used and that we began; AttachError where something else uses their disks."""
    with ledger.opened(KIND) as book:
        keys = set(book.only(name))
        ours = [session for session in san.sessions() if _key(session) in keys]
        going = [disk for session in ours for disk in session.disks]
        staying = [disk for session in san.sessions() if session not in ours for disk in session.disks]
        busy = inuse.disks(going) or inuse.flush_maps(going, staying)
        if busy:
            raise AttachError(f"the iSCSI sessions of pool {name} stay, because {busy}; stop what uses it, then run: "
                              f"systemctl start kvmontap-iscsi@{name} && systemctl stop kvmontap-iscsi@{name}")
        problems = []
        for session in ours:
            done = call((ADM, "-m", "session", "-r", session.sid, "-u"), SECONDS)
            if done.code not in (0, _NO_RECORD):
                problems.append(f"{session.portal}: {done.why}")
                keys.discard(_key(session))
        book.release(name, keys)
    if problems:
        raise AttachError(f"logout failed: {'; '.join(problems)}")


def rescan(pool: Pool) -> None:
    """Have the pool's sessions look for new LUNs, where its own is not what they show: looking is dear for a host with many."""
    if pool.wwid and san.disks_of(pool.wwid):
        return
    for session in _sessions(pool):
        if session.state == "LOGGED_IN":
            call((ADM, "-m", "session", "-r", session.sid, "--rescan"), SECONDS)


def found(pool: Pool) -> Tuple[str, ...]:
    """The WWIDs that the pool's portals show."""
    return san.luns(disks(pool))


def disks(pool: Pool) -> Tuple[str, ...]:
    """The disks that the pool's portals show: sda, sdb."""
    return tuple(disk for session in _sessions(pool) for disk in session.disks)


def _sessions(pool: Pool) -> List[san.Session]:
    """The sessions to the pool's portals; a name among them may stand for any."""
    named = any(not is_address(san.split_endpoint(name, 0)[0]) for name in pool.portals)
    wanted = {san.endpoint(*san.split_endpoint(name, san.ISCSI_PORT)) for name in pool.portals}
    return [one for one in san.sessions() if (named or one.portal in wanted) and (not pool.iqn or one.target in pool.iqn)]


def _key(session: san.Session) -> str:
    return f"{session.target} {session.portal}" + (f" {session.interface}" if session.interface else "")


def _bound(pool: Pool, ways: Sequence[Way], deadline: float) -> List[Way]:
    """Each way through each interface of the pool that reaches its portal: two fabrics have a subnet each, and no path between them."""
    devices = [name for name in pool.interfaces if os.path.exists(f"/sys/class/net/{name}")]
    for name in pool.interfaces:
        if name not in devices:
            say(f"pool {pool.name}: this host has no network interface {name}; going on with the others")
    every = {way._replace(interface=san.INTERFACE + name): name for way in ways for name in devices}
    silent = unreachable({way.key: (way.portal, name) for way, name in every.items()}, deadline)
    reached = [way for way in every if way.key not in silent]
    for name in devices:
        if reached and not any(every[way] == name for way in reached):
            say(f"pool {pool.name}: no portal answers through {name}")
    if not reached:
        raise AttachError(f"no portal answers through {' or '.join(pool.interfaces)}; check interfaces = and the network")
    for name in {every[way]: None for way in reached}:
        _record_interface(name)
    return reached


def _record_interface(name: str) -> None:
    """Have open-iscsi know a network interface; a session is bound to it by that."""
    record = san.INTERFACE + name
    done = call((ADM, "-m", "iface", "-I", record), SECONDS)
    if done.code or f"iface.net_ifacename = {name}" not in done.out:
        if done.code:
            call((ADM, "-m", "iface", "-I", record, "-o", "new"), SECONDS)
        done = call((ADM, "-m", "iface", "-I", record, "-o", "update", "-n", "iface.net_ifacename", "-v", name), SECONDS)
        if done.code:
            raise AttachError(f"open-iscsi does not take the interface {name}: {_said(done)}")


def _there() -> Set[str]:
    """The sessions that exist; one that is only FAILED comes back by itself."""
    return {_key(session) for session in san.sessions()}


def _chap(pool: Pool) -> Dict[str, str]:
    if not pool.chap_file:
        return {}
    try:
        chap = read_pairs(pool.chap_file)
    except SecretError as error:
        raise AttachError(str(error)) from None
    problem = noderecord.chap_problem(chap)
    if problem:
        raise AttachError(f"{pool.chap_file} {problem}")
    return chap


def _ways(pool: Pool, portals: Sequence[Portal], deadline: float) -> List[Way]:
    """Every target of the pool at every portal that answers, as the portals themselves tell it."""
    while True:
        ways, offered, problems = _discover(pool, portals)
        if ways or offered or not problems or time.monotonic() + AGAIN >= deadline:
            break
        time.sleep(AGAIN)  # a target that has just come up takes connections before it can be talked to
    for problem in problems if ways else ():
        say(f"pool {pool.name}: {problem}")
    if ways:
        return list(ways.values())
    if offered and pool.iqn and not offered.intersection(pool.iqn):
        raise AttachError(f"the portals offer {', '.join(sorted(offered))}, but not {', '.join(pool.iqn)}; correct iqn =")
    if offered:
        raise AttachError("the portals offer no target at the addresses in portals =")
    raise AttachError("; ".join(problems) or "the portals offer this host no target; check its initiator name in the igroup")


def _discover(pool: Pool, portals: Iterable[Portal]) -> Tuple[Dict[str, Way], Set[str], List[str]]:
    """What the portals tell: sessions to be, every target's name, and what went wrong."""
    by_endpoint = {portal.endpoint: portal for portal in portals}
    ways: Dict[str, Way] = {}
    offered: Set[str] = set()
    problems: List[str] = []
    told: Set[str] = set()
    for portal in by_endpoint.values():
        if portal.endpoint in told:
            continue  # another portal of the same target has told of it
        # -o nonpersistent: any other discovery writes node records anew, and with that wipes the CHAP secrets out of all of them.
        done = call((ADM, "-m", "discovery", "-t", "sendtargets", "-p", portal.endpoint, "-o", "nonpersistent"), SECONDS)
        if done.code == _NO_RECORD:
            continue
        if done.code:
            problems.append(f"portal {portal.endpoint} does not tell its targets: {_said(done)}")
            continue
        for address, port, tag, target in noderecord.discovered(done.out):
            offered.add(target)
            where = by_endpoint.get(san.endpoint(address, port))
            if where is not None and (not pool.iqn or target in pool.iqn):
                way = Way(target, where, tag)
                ways[way.key] = way
                told.add(where.endpoint)
    return ways, offered, problems


def _login(way: Way, chap: Dict[str, str], pool: Pool) -> str:
    """Log in; "" or what went wrong."""
    portal = f"{way.portal.endpoint},{way.tag}"
    # Without -I, iscsiadm would take every interface that somebody has a record of.
    node = (ADM, "-m", "node", "-T", way.target, "-p", portal, "-I", way.interface or "default")
    path = _record(way)
    if not path:
        done = call((*node, "-o", "new"), SECONDS)
        path = _record(way)
        if done.code or not path:
            return f"no node record for {way.target} at {portal}: {_said(done)}"
    try:
        _edit(path, noderecord.settings(chap))
    except OSError as error:
        return f"the node record {path} cannot be written: {error.strerror}"
    done = call((*node, "-l"), SECONDS)
    if done.code in (0, _EXISTS):
        return ""
    return _refused(way, done, pool)


def _refused(way: Way, done: Done, pool: Pool) -> str:
    where = f"{way.portal.endpoint} ({way.target})"
    if done.code == _AUTHORISATION:
        secret = f"username and password in {pool.chap_file}" if pool.chap_file else "whether it asks for CHAP (chap-file =)"
        return f"portal {where} refuses the login of this host; check {secret}, and its initiator name on the array"
    if done.code == _LOGIN and pool.chap_file:
        return f"portal {where} does not prove its own secret; check username-in and password-in in {pool.chap_file}"
    return f"login to portal {where} failed: {_said(done)}"


def _said(done: Done) -> str:
    return "iscsiadm did not end in time" if done.code == _TIMEOUT and not done.err else done.why


def _record(way: Way) -> str:
    """The file of a node record, "" where there is none."""
    for base in NODES:
        for address in (way.portal.address, f"[{way.portal.address}]"):
            place = os.path.join(base, way.target, f"{address},{way.portal.port},{way.tag}")
            if os.path.isfile(os.path.join(place, way.interface or "default")):
                return os.path.join(place, way.interface or "default")
            if os.path.isfile(place) and not way.interface:
                return place
    return ""


def _edit(path: str, wanted: Dict[str, str]) -> None:
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        text = stream.read()
    temporary = os.path.join(os.path.dirname(path), f".kvmontap-{os.getpid()}-{time.monotonic_ns()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(noderecord.edited(text, wanted))
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
