"""Storage pools and VMs of a running libvirt: the one module of kvmontap that imports libvirt.

It can also tell of what happens (listen), in a thread that is libvirt's event loop; what it calls then must return at once.

The import takes place with the connection, so that whoever only reads a plan does not need the bindings.  Calls are synchronous
and have no timeout (libvirt accepts no client before its autostart is through): callers bring their own deadline.
"""

import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from kvmontap.pools.plan import State

URI = "qemu:///system"


class PoolError(Exception):
    """What libvirt refused, in one sentence."""


class Machine(NamedTuple):
    """A VM as libvirt has it."""

    name: str
    uuid: str
    xml: str  # as it will start next; of one that is not defined, as it runs
    off: bool  # nothing of it runs here
    saved: bool = False  # it has a managed save image: its memory would not fit other disks
    snapshots: int = 0  # libvirt's own


class Guest(NamedTuple):
    """A VM as it is right now."""

    name: str
    uuid: str
    active: bool
    autostart: bool
    paused_for_io: bool = False  # libvirt paused it because its storage gave an error


# What happens to a VM, as Listener.machine hears it.
STARTED, PAUSED_FOR_IO, UNDEFINED, OTHER = "started", "paused-for-io", "undefined", "other"


class Listener(NamedTuple):
    """Who is called, in the thread of the event loop."""

    pool: Callable[[str, bool], None]  # name, whether it is active now
    machine: Callable[[str, str, str], None]  # UUID, name, what
    closed: Callable[[], None]  # the connection is gone


class Libvirt:
    """A connection; `with` closes it."""

    def __init__(self, uri: str = URI) -> None:
        try:
            import libvirt  # pylint: disable=import-outside-toplevel
        except ImportError as error:
            raise PoolError(f"libvirt's Python bindings cannot be loaded ({error}); install python3-libvirt") from None
        self._error = libvirt.libvirtError
        self._api = libvirt
        self._undo: List[Callable[[], Any]] = []  # what listens would keep the connection in memory
        libvirt.registerErrorHandler(lambda context, error: None, None)  # it would print to stderr by itself
        try:
            self._connection = libvirt.open(uri)
        except libvirt.libvirtError as error:
            raise PoolError(f"libvirt does not answer at {uri}: {_message(error)}; look at: systemctl status libvirtd") from None

    def __enter__(self) -> "Libvirt":
        return self

    def __exit__(self, *_: Any) -> None:
        for undo in (*self._undo, self._connection.close):
            try:
                undo()
            except self._error:  # the other side is gone
                pass

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of everything from now on; event_loop() must have been called before this connection was opened."""
        api = self._api
        machine = {
            (api.VIR_DOMAIN_EVENT_SUSPENDED, api.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR): PAUSED_FOR_IO,
            (api.VIR_DOMAIN_EVENT_STARTED, None): STARTED,
            (api.VIR_DOMAIN_EVENT_UNDEFINED, None): UNDEFINED,
        }

        def pool_happened(_: Any, pool: Any, event: int, __: int, ___: Any) -> None:
            if event in (api.VIR_STORAGE_POOL_EVENT_STARTED, api.VIR_STORAGE_POOL_EVENT_STOPPED):
                listener.pool(pool.name(), event == api.VIR_STORAGE_POOL_EVENT_STARTED)

        def machine_happened(_: Any, domain: Any, event: int, detail: int, __: Any) -> None:
            what = machine.get((event, detail)) or machine.get((event, None)) or OTHER
            listener.machine(domain.UUIDString(), domain.name(), what)

        connection = self._connection
        self._call("report a lost connection", connection.registerCloseCallback, lambda *_: listener.closed(), None)
        self._undo.append(connection.unregisterCloseCallback)
        lifecycle = (None, api.VIR_DOMAIN_EVENT_ID_LIFECYCLE, machine_happened, None)
        machines = self._call("report what happens to VMs", connection.domainEventRegisterAny, *lifecycle)
        self._undo.append(lambda: connection.domainEventDeregisterAny(machines))
        lifecycle = (None, api.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, pool_happened, None)
        pools = self._call("report what happens to pools", connection.storagePoolEventRegisterAny, *lifecycle)
        self._undo.append(lambda: connection.storagePoolEventDeregisterAny(pools))

    def pool(self, name: str) -> Optional[State]:
        """One pool, None where libvirt has none of that name."""
        try:
            return self._state(self._pool(name))
        except self._error as error:
            if error.get_error_code() == self._api.VIR_ERR_NO_STORAGE_POOL:
                return None
            raise PoolError(f"libvirt does not tell about pool {name}: {_message(error)}") from None

    def pool_now(self, name: str) -> str:
        """The XML of a pool as it is now, for a storage hook."""
        return str(self._call(f"tell about pool {name}", lambda: self._pool(name).XMLDesc(0)))

    def _state(self, pool: Any) -> State:
        persistent = bool(pool.isPersistent())
        text = pool.XMLDesc(self._api.VIR_STORAGE_XML_INACTIVE if persistent else 0)
        return State(text, bool(pool.isActive()), bool(pool.autostart()), persistent)

    def pools(self) -> Dict[str, State]:
        """Every pool that libvirt knows, by name."""
        found = {}
        for pool in self._call("list its storage pools", self._connection.listAllStoragePools):
            try:
                found[pool.name()] = self._state(pool)
            except self._error as error:
                if error.get_error_code() != self._api.VIR_ERR_NO_STORAGE_POOL:  # it has gone meanwhile
                    raise PoolError(f"libvirt does not tell about its storage pools: {_message(error)}") from None
        return found

    def define(self, name: str, text: str) -> None:
        """Define a persistent pool, not active and without autostart."""
        self._call(f"define pool {name}", self._connection.storagePoolDefineXML, text, 0)

    def build(self, name: str) -> None:
        """Make what the pool stands on; only for types where that is a directory."""
        self._call(f"make the directory of pool {name}", lambda: self._pool(name).build(0))

    def start(self, name: str) -> None:
        self._call(f"start pool {name}", lambda: self._pool(name).create(0))

    def stop(self, name: str) -> None:
        """Stop a pool; for one of type dir this touches neither files nor mounts."""
        self._call(f"stop pool {name}", lambda: self._pool(name).destroy())

    def undefine(self, name: str) -> None:
        """Forget a pool that is not active; what lies in it stays."""
        self._call(f"forget pool {name}", lambda: self._pool(name).undefine())

    def autostart(self, name: str, flag: bool) -> None:
        self._call(f"set autostart of pool {name}", lambda: self._pool(name).setAutostart(int(flag)))

    def machine(self, name: str) -> Machine:
        """The VM of that name or UUID; raises PoolError where there is none."""
        found = self.known(name)
        if found is None:
            raise PoolError(f"libvirt has no VM {name}; there are: virsh list --all")
        return found

    def known(self, name: str) -> Optional[Machine]:
        """The VM of that name or UUID, None where there is none."""
        for look in (self._connection.lookupByName, self._connection.lookupByUUIDString):
            try:
                domain = look(name)
            except self._error as error:
                if error.get_error_code() in (self._api.VIR_ERR_NO_DOMAIN, self._api.VIR_ERR_INVALID_ARG):
                    continue
                raise PoolError(f"libvirt does not tell about VM {name}: {_message(error)}") from None
            return self._call(f"tell about VM {name}", self._describe, domain)
        return None

    def _describe(self, domain: Any) -> Machine:
        persistent = bool(domain.isPersistent())
        flags = (self._api.VIR_DOMAIN_XML_INACTIVE if persistent else 0) | self._api.VIR_DOMAIN_XML_SECURE
        saved = bool(domain.hasManagedSaveImage(0)) if persistent else False
        return Machine(domain.name(), domain.UUIDString(), domain.XMLDesc(flags), not domain.isActive(), saved, domain.snapshotNum(0))

    def machines(self) -> Dict[str, Machine]:
        """Every VM that libvirt knows, by name."""
        found = {}
        for domain in self._call("list its VMs", self._connection.listAllDomains, 0):
            try:
                machine = self._describe(domain)
            except self._error as error:
                if error.get_error_code() != self._api.VIR_ERR_NO_DOMAIN:
                    raise PoolError(f"libvirt does not tell about its VMs: {_message(error)}") from None
                continue
            found[machine.name] = machine
        return found

    def running(self) -> Dict[str, str]:
        """{name: XML as it runs} of the VMs that run here, paused ones included."""
        found = {}
        for domain in self._call("list its VMs", self._connection.listAllDomains, self._api.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            try:
                found[domain.name()] = domain.XMLDesc(0)
            except self._error as error:
                if error.get_error_code() != self._api.VIR_ERR_NO_DOMAIN:  # it has ended meanwhile
                    raise PoolError(f"libvirt does not tell about its VMs: {_message(error)}") from None
        return found

    def guest(self, uuid: str) -> Optional[Guest]:
        """The VM of that UUID, None where there is none."""
        try:
            return self._guest(self._connection.lookupByUUIDString(uuid))
        except self._error as error:
            if error.get_error_code() == self._api.VIR_ERR_NO_DOMAIN:
                return None
            raise PoolError(f"libvirt does not tell about VM {uuid}: {_message(error)}") from None

    def paused_for_io(self) -> Tuple[Guest, ...]:
        """The VMs that libvirt has paused because their storage gave an error."""
        found: List[Guest] = []
        for domain in self._call("list its paused VMs", self._connection.listAllDomains, self._api.VIR_CONNECT_LIST_DOMAINS_PAUSED):
            try:
                found.append(self._guest(domain))
            except self._error as error:
                if error.get_error_code() != self._api.VIR_ERR_NO_DOMAIN:
                    raise PoolError(f"libvirt does not tell about its VMs: {_message(error)}") from None
        return tuple(one for one in found if one.paused_for_io)

    def _guest(self, domain: Any) -> Guest:
        state = list(domain.state())
        paused = state == [self._api.VIR_DOMAIN_PAUSED, self._api.VIR_DOMAIN_PAUSED_IOERROR]
        lasting = bool(domain.isPersistent())
        return Guest(domain.name(), domain.UUIDString(), bool(domain.isActive()), lasting and bool(domain.autostart()), paused)

    def running_xml(self, uuid: str) -> str:
        """The XML of a VM as it runs."""
        return str(self._call("tell about a VM", lambda: self._connection.lookupByUUIDString(uuid).XMLDesc(0)))

    def start_machine(self, uuid: str, name: str) -> None:
        """Start a VM, as `virsh start` does; the hook is asked."""
        self._call(f"start VM {name}", lambda: self._connection.lookupByUUIDString(uuid).create())

    def resume_machine(self, uuid: str, name: str) -> None:
        self._call(f"resume VM {name}", lambda: self._connection.lookupByUUIDString(uuid).resume())

    def define_machine(self, name: str, text: str) -> None:
        """Define a VM, off."""
        self._call(f"define VM {name}", self._connection.defineXML, text)

    def freeze(self, uuid: str, seconds: float) -> int:
        """Freezes the VM's file systems through its guest agent, which has so long for its answer; how many they are."""
        return int(self._agent(uuid, "freeze", "fsFreeze", seconds))

    def thaw(self, uuid: str, seconds: float) -> int:
        """Thaws them; 0 where none was frozen."""
        return int(self._agent(uuid, "thaw", "fsThaw", seconds))

    def _agent(self, uuid: str, doing: str, method: str, seconds: float) -> int:
        domain = self._call(f"find VM {uuid}", self._connection.lookupByUUIDString, uuid)
        # Without it libvirt waits for an agent for as long as that takes.
        self._call("set how long a guest agent may take", domain.agentSetResponseTimeout, max(1, int(seconds)))
        return self._call(f"{doing} VM {domain.name()}", getattr(domain, method))

    def _pool(self, name: str) -> Any:
        return self._connection.storagePoolLookupByName(name)

    def _call(self, what: str, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._error as error:
            raise PoolError(f"libvirt did not {what}: {_message(error)}") from None


_loop: List[threading.Thread] = []


def event_loop() -> None:
    """Starts libvirt's event loop, in a thread of its own, once for the process; before the first connection that listens."""
    if _loop:
        return
    try:
        import libvirt  # pylint: disable=import-outside-toplevel
    except ImportError as error:
        raise PoolError(f"libvirt's Python bindings cannot be loaded ({error}); install python3-libvirt") from None
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while libvirt.virEventRunDefaultImpl() == 0:
            pass

    _loop.append(threading.Thread(target=run, name="kvmontap-libvirt", daemon=True))
    _loop[0].start()


def _message(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
