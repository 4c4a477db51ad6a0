"""The journal's message catalog, made from the reason codes: `python3 -m kvmontap.gate.catalog > units/kvmontapd.catalog`.

Format: systemd's "Journal Message Catalogs"; @FIELD@ is filled in by journalctl -x from the entry.
"""

import re
import sys
from typing import Iterator, Tuple

from kvmontap.gate import report
from kvmontap.model import FAILED, UNKNOWN
from kvmontap.reasons import REASONS

_HEAD = """-- {id}
Subject: {subject}
Defined-By: kvmontap
Documentation: man:kvmontapd(8) man:kvmontap(8)

{text}
"""
_WHO = "VM: @KVMONTAP_DOMAIN@\n"
_WHY = """VM:     @KVMONTAP_DOMAIN@
Pool:   @KVMONTAP_POOL@ (@KVMONTAP_HEALTH@)
Reason: @KVMONTAP_CODE@
"""


def codes(*healths: str) -> Iterator[str]:
    """One line for each reason code of these healths, or of all."""
    for code, reason in REASONS.items():
        if not healths or reason.health in healths:
            words = re.sub(r"{([a-z_]+)[^}]*}", r"<\1>", reason.text)
            yield f"  {code}: {words}"


def text() -> str:
    """The whole catalog."""
    entries = (
        (
            report.REFUSED,
            "A VM was refused because of its storage",
            _WHY + "\nThe VM was not started, or not let in, because a storage pool that it needs is not fit for it.  The message says"
            "\nwhat is wrong and what to do.  Whether a VM is refused is decided by [gate] in kvmontap.conf(5).\n\nReasons to refuse:\n"
            + "\n".join(codes(FAILED, UNKNOWN)),
        ),
        (
            report.LET_THROUGH,
            "A VM was let through although something is wrong with its storage",
            _WHY + "\nThe VM may run, but a storage pool that it needs works with less than it should, or [gate] in"
            "\nkvmontap.conf(5) says to warn only.\n\nAll reasons:\n" + "\n".join(codes()),
        ),
        (
            report.SNAPSHOT,
            "The array took a snapshot before a VM started or arrived",
            "VM:       @KVMONTAP_DOMAIN@\nSnapshot: @KVMONTAP_SNAPSHOT@",
        ),
        *_watched(),
        (
            report.FAULT,
            "kvmontap itself failed, and let a VM through unchecked",
            "VM: @KVMONTAP_DOMAIN@\n\nThis is a bug in kvmontap.  A fault of its own never keeps a VM down.",
        ),
        (
            report.CONFIGURATION,
            "kvmontapd read its configuration",
            "What is wrong with it is told by: kvmontap check",
        ),
        (
            report.RETENTION,
            "kvmontap looked at the old snapshots of a volume",
            "Volume: @KVMONTAP_VOLUME@\n\nWhat goes and what stays is decided by keep and keep-days in kvmontap.conf(5);"
            "\nall of it is shown by: kvmontap snapshot prune --dry-run",
        ),
    )
    return "\n".join(_HEAD.format(id=identity, subject=subject, text=body) for identity, subject, body in entries)


def _watched() -> Tuple[Tuple[str, str, str], ...]:
    """What kvmontapd tells by itself, without a VM that asks."""
    return (
        (
            report.HEALTH,
            "The health of a storage pool has changed",
            "Pool:   @KVMONTAP_POOL@ (@KVMONTAP_HEALTH@)\nReason: @KVMONTAP_CODE@\n\nkvmontapd looks at every pool after each"
            "\nevent and once a minute.  All of them are shown by: kvmontap status",
        ),
        (
            report.RETRIED,
            "kvmontap tries again to bring a storage pool up",
            "Pool: @KVMONTAP_POOL@\nUnit: @KVMONTAP_UNIT@\n\nThe unit failed, most likely at boot.  It is started again while it fails,"
            "\never less often; not one that somebody has stopped.",
        ),
        (
            report.POOL_STARTED,
            "A pool was started in libvirt because its storage is back",
            "Pool: @KVMONTAP_POOL@",
        ),
        (
            report.POOL_STOPPED,
            "A pool was stopped in libvirt because its storage is not there",
            "Pool: @KVMONTAP_POOL@\n\nlibvirt starts a directory pool on an empty directory too, and would show and fill that.  The"
            "\nstop touches neither files nor mounts; the pool is started again when its storage is back.",
        ),
        (
            report.VM_STARTED,
            "A VM was started that had been refused at boot",
            _WHO + "\nlibvirt wanted to start it at boot, its storage was not fit for it then, and is now.",
        ),
        (
            report.VM_RESUMED,
            "A VM goes on that libvirt had paused for an I/O error",
            _WHO + "\nIts storage is well again.",
        ),
        (
            report.LEFT,
            "kvmontap could not bring something back, and says why",
            _WHO + "Pool: @KVMONTAP_POOL@",
        ),
    )


if __name__ == "__main__":
    sys.stdout.write(text())
