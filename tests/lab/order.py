"""Evidence of order: what systemd noted at boot, and what the journal of the boot before says of shutdown."""

from __future__ import annotations

import json
from typing import NamedTuple

from .vm import VM

# systemd's message identifiers (sd-messages.h)
STARTED = "39f53479d3a045ac8e11786248231fbf"
STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
STOPPED = "9d1aaa27d60140bd96365438aad20286"
SUCCESS = "7ad2d189f7e94e70a38c781354912448"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"


class Event(NamedTuple):
    """One message of systemd about a unit; `seconds` since the kernel started."""

    seconds: float
    unit: str
    what: str
    text: str


def entered(vm: VM, unit: str, moment: str = "ActiveEnter") -> float:
    """Seconds after boot at which a unit last did something; 0.0 when it never did.

    moment: ActiveEnter, InactiveExit (began to start), ActiveExit, ExecMainStart, ...
    """
    said = vm.run(f"systemctl show -p {moment}TimestampMonotonic --value '{unit}'").out.strip()
    return int(said or 0) / 1e6


def guest_scope(vm: VM, name: str) -> str:
    """The scope unit that a running guest lives in, "" when it does not run."""
    units = vm.run("systemctl list-units --plain --no-legend --type=scope").out.splitlines()
    for line in units:
        unit = line.split()[0]
        escaped = name.replace("-", "\\x2d")
        if unit.startswith("machine-qemu") and unit.endswith(f"\\x2d{escaped}.scope"):
            return unit
    return ""


def events(vm: VM, boot: int = 0) -> list[Event]:
    """What systemd said of its units in one boot (-1: the one before), in order."""
    found = []
    fields = "UNIT,MESSAGE_ID,MESSAGE,__MONOTONIC_TIMESTAMP"
    said = vm.run(f"journalctl -q -b {boot} -o json --output-fields={fields} _PID=1", timeout=60).out
    for line in said.splitlines():
        entry = json.loads(line)
        if "UNIT" in entry:
            found.append(Event(int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6, entry["UNIT"],
                               entry.get("MESSAGE_ID", ""), str(entry.get("MESSAGE", ""))))
    return found


def last(found: list[Event], unit: str, *what: str) -> float:
    """When the last such event of a unit was; LookupError with what there is instead."""
    times = [one.seconds for one in found if one.unit == unit and one.what in what]
    if not times:
        seen = [f"{one.seconds:.2f} {one.text}" for one in found if one.unit == unit]
        raise LookupError(f"no such event of {unit}; seen: {seen}")
    return times[-1]
