"""Whether the volume group of a `logical` pool is there with all its physical volumes, asked of LVM itself.

Through vgs in a process of its own, one at a time, since it reads the devices and a device without paths can hang it.  --readonly takes no
lock and writes nothing; --driverloaded n keeps it from device-mapper's control node, which kvmontapd's unit does not let it open.
"""

from typing import Any, Mapping, Optional, Tuple

from kvmontap import command
from kvmontap.model import Finding, Pool
from kvmontap.reasons import finding

VGS = "/usr/sbin/vgs"
_FIELDS = "vg_name,vg_missing_pv_count,pv_count"


def check(pool: Pool, commands: command.Commands, deadline: float, patience: float = 5.0) -> Tuple[Finding, ...]:
    """The finding about a volume group that is missing or incomplete; by `deadline` (time.monotonic())."""
    argv = (VGS, "--readonly", "--driverloaded", "n", "--reportformat", "json", "--nosuffix", "-o", _FIELDS, pool.vg)
    answer = commands.run(("vgs", pool.vg), argv, deadline, patience)
    if answer.state == command.HANGS:
        return (finding("vg.no-answer", vg=pool.vg, seconds=answer.seconds, since=answer.since),)
    if answer.state == command.BROKEN:
        return (finding("vg.unknown", vg=pool.vg, error=f"{VGS} cannot be run: {answer.error}"),)
    return judge(pool.vg, answer.output, answer.error)


def judge(vg: str, output: str, error: str) -> Tuple[Finding, ...]:
    """What vgs said of a volume group.  Pure.  It ends with an error where the group is missing, and prints its report all the same."""
    import json  # late: only a pool of type logical needs it

    try:
        row = _row(json.loads(output), vg)
        missing, count = (0, 0) if row is None else (int(row["vg_missing_pv_count"]), int(row["pv_count"]))
    except (ValueError, KeyError, TypeError):
        words = " ".join(error.split())[:200]
        return (finding("vg.unknown", vg=vg, error=words or "vgs printed no report"),)
    if row is None:
        return (finding("vg.missing", vg=vg),)
    return (finding("vg.incomplete", vg=vg, missing=missing, count=count),) if missing else ()


def _row(told: Any, vg: str) -> Optional[Mapping[str, Any]]:
    for report in told["report"]:
        for row in report.get("vg", ()):
            if row["vg_name"] == vg:
                return row
    return None
