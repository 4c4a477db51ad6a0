"""NVMe's keys: DH-HMAC-CHAP and the pre-shared key of TLS, from root's files into libnvme's configuration file and nowhere else.

nvme(1) takes them as arguments too, where everybody can read them.  Here they go through a file of mode 0600 below /run that is removed as
soon as nvme has read it (libnvme's config-schema.json describes it).
"""

import json
import os
from contextlib import contextmanager
from typing import Dict, Iterator, List, NamedTuple

from kvmontap.attach import ledger
from kvmontap.attach.call import AttachError
from kvmontap.config.secrets import SecretError, read_pairs, read_secret
from kvmontap.model import Pool

HOSTNQN = "/etc/nvme/hostnqn"
HOSTID = "/etc/nvme/hostid"
SHOWN = ("dhchap_secret", "dhchap_ctrl_secret")


class Keys(NamedTuple):
    """What a pool's files hold; "" = none."""

    host: str = ""  # DHHC-1:..., by which this host proves itself
    controller: str = ""  # DHHC-1:..., by which the controller does
    tls: str = ""  # NVMeTLSkey-1:...


def read(pool: Pool) -> Keys:
    """The keys of a pool; AttachError where a file cannot be used.  No key is ever named."""
    try:
        pairs = read_pairs(pool.dhchap_file) if pool.dhchap_file else {}
        tls = read_secret(pool.tls_key_file) if pool.tls_key_file else ""
    except SecretError as error:
        raise AttachError(str(error)) from None
    if pool.dhchap_file:
        problem = dhchap_problem(pairs)
        if problem:
            raise AttachError(f"{pool.dhchap_file} {problem}")
    if tls and not tls.startswith("NVMeTLSkey-1:"):
        raise AttachError(f"{pool.tls_key_file} holds no pre-shared key of the form NVMeTLSkey-1:...; nvme gen-tls-key makes one")
    return Keys(pairs.get("key", ""), pairs.get("ctrl-key", ""), tls)


def dhchap_problem(pairs: Dict[str, str]) -> str:
    """What is wrong with the lines of a dhchap-file, "" when nothing is."""
    if not pairs.get("key"):
        return "has no line key="
    for name in ("key", "ctrl-key"):
        if pairs.get(name) and not pairs[name].startswith("DHHC-1:"):
            return f"has a {name}= that is not of the form DHHC-1:...; nvme gen-dhchap-key makes one"
    if pairs.get("ctrl-key") == pairs["key"]:
        return "has the same key in both directions, which proves nothing"
    unknown = sorted(set(pairs) - {"key", "ctrl-key"})
    return f"has {unknown[0]}=, which means nothing there" if unknown else ""


def document(keys: Keys, transport: str, address: str, port: str, subsystem: str) -> List[Dict]:
    """libnvme's configuration of one controller."""
    controller: Dict[str, object] = {"transport": transport, "traddr": address, "trsvcid": port}
    if keys.host:
        controller["dhchap_key"] = keys.host
    if keys.controller:
        controller["dhchap_ctrl_key"] = keys.controller
    if keys.tls:
        controller["tls"] = True
        controller["tls_key"] = keys.tls
    host: Dict[str, object] = {"hostnqn": _line(HOSTNQN)}
    if _line(HOSTID):
        host["hostid"] = _line(HOSTID)
    if keys.host:
        host["dhchap_key"] = keys.host
    return [{**host, "subsystems": [{"nqn": subsystem, "ports": [controller]}]}]


@contextmanager
def written(content: List[Dict]) -> Iterator[str]:
    """The path of a file with `content`, gone again afterwards."""
    os.makedirs(ledger.directory(), mode=0o755, exist_ok=True)
    path = os.path.join(ledger.directory(), f".nvme-{os.urandom(6).hex()}.json")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        yield path
    finally:
        os.unlink(path)


def hide(controller: str, root: str = "/") -> None:
    """Leave a controller's keys in /sys to root: the kernel shows them to everybody."""
    for name in SHOWN:
        try:
            os.chmod(os.path.join(root, "sys/class/nvme", controller, name), 0o600)
        except OSError:  # this kernel has none, or the controller has gone
            pass


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return ""
