"""What multipathd thinks of the paths of a map: it asks each one every few seconds, which /sys does not.

A LUN that was unmapped or taken offline on the array leaves sessions and SCSI devices "running"; the checker's test fails, and the
map's path with it.  Asked over multipathd's own socket (multipathd(8), lib/libmpathcmd), only where there is a map, so that asking
never starts it, and with a deadline.  Without an answer only /sys counts.
"""

import socket
import struct
import time
from typing import Any, Dict, List, Mapping

SOCKET = "\0/org/kernel/linux/storage/multipathd"
ONE_TRY = 1.0  # seconds
_LARGEST = 8 << 20
_LENGTH = struct.Struct("N")  # size_t


def down(wwid: str, deadline: float, address: str = SOCKET) -> Dict[str, str]:
    """{disk: state in multipathd's words} of the paths to a LUN that no I/O goes through; {} where multipathd does not tell."""
    import json  # late: only a host with multipath needs it

    try:
        told = json.loads(ask(f"show map {wwid} json", deadline, address))
    except (OSError, ValueError):
        return {}
    return failed(told)


def failed(told: Any) -> Dict[str, str]:
    """As down(), of the text's value.  Pure; a value of another shape tells of nothing."""
    found: Dict[str, str] = {}
    for group in _items(_item(told, "map"), "path_groups"):
        for path in _items(group, "paths"):
            disk, kernel, checker = (path.get(key) for key in ("dev", "dm_st", "chk_st"))
            if isinstance(disk, str) and kernel == "failed":
                found[disk] = f"multipath {checker}" if isinstance(checker, str) else "multipath failed"
    return found


def ask(command: str, deadline: float, address: str = SOCKET) -> str:
    """multipathd's reply to one command; OSError where there is none in time."""
    until = min(deadline, time.monotonic() + ONE_TRY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_left(until))
        connection.connect(address)
        text = command.encode() + b"\0"
        connection.sendall(_LENGTH.pack(len(text)) + text)
        size, = _LENGTH.unpack(_exactly(connection, _LENGTH.size, until))
        if not 0 < size <= _LARGEST:
            raise OSError(f"multipathd announces {size} bytes")
        return _exactly(connection, size, until).rstrip(b"\0").decode("utf-8", "replace")


def _exactly(connection: socket.socket, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        connection.settimeout(_left(until))
        part = connection.recv(size - len(data))
        if not part:
            raise OSError("multipathd hung up")
        data += part
    return data


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise socket.timeout("no time is left")
    return left


def _item(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _items(value: Any, key: str) -> List[Mapping[str, Any]]:
    inside = _item(value, key)
    return [one for one in inside if isinstance(one, Mapping)] if isinstance(inside, list) else []
