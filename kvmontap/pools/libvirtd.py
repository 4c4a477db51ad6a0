"""Storage pools and VMs of a running libvirt: the one module of kvmontap that imports libvirt.

The import takes place with the connection, so that whoever only reads a plan does not need the bindings.  Calls are synchronous
and have no timeout (libvirt accepts no client before its autostart is through): callers bring their own deadline.
"""

from typing import Any, Dict, NamedTuple, Optional

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


class Libvirt:
    """A connection; `with` closes it."""

    def __init__(self, uri: str = URI) -> None:
        try:
            import libvirt  # pylint: disable=import-outside-toplevel
        except ImportError as error:
            raise PoolError(f"libvirt's Python bindings cannot be loaded ({error}); install python3-libvirt") from None
        self._error = libvirt.libvirtError
        self._api = libvirt
        libvirt.registerErrorHandler(lambda context, error: None, None)  # it would print to stderr by itself
        try:
            self._connection = libvirt.open(uri)
        except libvirt.libvirtError as error:
            raise PoolError(f"libvirt does not answer at {uri}: {_message(error)}; look at: systemctl status libvirtd") from None

    def __enter__(self) -> "Libvirt":
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self._connection.close()
        except self._error:
            pass

    def pools(self) -> Dict[str, State]:
        """Every pool that libvirt knows, by name."""
        found = {}
        for pool in self._call("list its storage pools", self._connection.listAllStoragePools):
            try:
                persistent = bool(pool.isPersistent())
                text = pool.XMLDesc(self._api.VIR_STORAGE_XML_INACTIVE if persistent else 0)
                found[pool.name()] = State(text, bool(pool.isActive()), bool(pool.autostart()), persistent)
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

    def define_machine(self, name: str, text: str) -> None:
        """Define a VM, off."""
        self._call(f"define VM {name}", self._connection.defineXML, text)

    def _pool(self, name: str) -> Any:
        return self._connection.storagePoolLookupByName(name)

    def _call(self, what: str, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._error as error:
            raise PoolError(f"libvirt did not {what}: {_message(error)}") from None


def _message(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
