"""Which volume holds the LUN or the NVMe namespace of a block pool, and how that one is.

A LUN is known by its serial number, which its WWID carries; a namespace by its UUID, which is the same on the host and on the array.
Imports no client library: it talks through kvmontap.array.client.
"""

from typing import Any, List, Mapping, NamedTuple, Tuple, Union

from kvmontap.array.answers import flag, one_line, text
from kvmontap.array.client import Client
from kvmontap.model import Finding, Pool
from kvmontap.reasons import finding

NETAPP = "3600a0980"  # how the WWID of every LUN of ONTAP begins; its serial number's 12 bytes follow in hex
_SERIAL = 12  # characters
_QUERY = frozenset('*|!<>{}",? ')  # what means something in a query, or may
_MOST = 5000
_FIELDS = ("name", "uuid", "enabled", "status.state", "location.volume.name", "location.volume.uuid", "svm.name")


class Held(NamedTuple):
    """A LUN or namespace that was found."""

    volume: str
    volume_uuid: str
    findings: Tuple[Finding, ...] = ()
    uuid: str = ""  # its own
    name: str = ""


def serial_number(wwid: str) -> str:
    """The serial number in the WWID of a LUN of ONTAP's, "" in any other WWID.

    >>> serial_number("3600a098038314c57312b58387638574f")
    '81LW1+X8v8WO'
    """
    rest = wwid[len(NETAPP):]
    if not wwid.lower().startswith(NETAPP) or len(rest) != 2 * _SERIAL:
        return ""
    try:
        serial = bytes.fromhex(rest).decode("ascii")
    except ValueError:
        return ""
    return serial if serial.isprintable() else ""


def holder(client: Client, pool: Pool, svm: Mapping[str, str], deadline: float) -> Union[Held, Finding, None]:
    """What holds the device of a pool; None where the pool names nothing that could be looked for, a Finding where it is not there."""
    serial = serial_number(pool.wwid)
    if serial:
        shown = f"LUN with the serial number {serial}"
        # Serial numbers have all kinds of characters in them; those that a query would take for its own are looked for here.
        asked = {} if _QUERY & set(serial) else {"serial_number": serial}
        fields = _FIELDS + ("serial_number",)
        found = [one for one in client.records("Lun", fields, deadline, most=_MOST, **{**svm, **asked})
                 if text(one, "serial_number") == serial]
    elif pool.namespace:
        shown = f"NVMe namespace {pool.namespace}"
        found = [one for one in client.records("NvmeNamespace", _FIELDS, deadline, **{**svm, "uuid": pool.namespace.lower()})
                 if text(one, "uuid").lower() == pool.namespace.lower()]
    else:
        return None
    return _one(client.array.name, shown, found, "lun show" if serial else "vserver nvme namespace show")


def _one(array: str, shown: str, found: List[Mapping[str, Any]], show: str) -> Union[Held, Finding]:
    if not found:
        return finding("lun.unknown", array=array, lun=shown)
    if len(found) > 1:
        return finding("volume.ambiguous", array=array, count=len(found), volume=f"a {shown}")
    volume, uuid = text(found[0], "location.volume.name"), text(found[0], "location.volume.uuid")
    if not uuid:
        error = f"{shown} has no volume"
        return finding("array.answer", array=array, address=text(found[0], "svm.name"), error=error)
    return Held(volume, uuid, judge(found[0], array, show), text(found[0], "uuid"), text(found[0], "name"))


def judge(record: Mapping[str, Any], array: str, show: str) -> Tuple[Finding, ...]:
    """What the record of a LUN or namespace says of its health; `show` is ONTAP's command that tells more."""
    state = text(record, "status.state")
    if state == "online" or (not state and flag(record, "enabled") is not False):
        return ()
    fields = {"lun": text(record, "name"), "svm": text(record, "svm.name"), "state": one_line(state) or "disabled"}
    return (finding("lun.offline", array=array, show=show, **fields),)
