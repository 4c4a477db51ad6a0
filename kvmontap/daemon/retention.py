"""What was done in the background after a snapshot, for the journal: retention, SnapMirror."""

from kvmontap import service
from kvmontap.gate.report import RETENTION
from kvmontap.snapshots.mirror import Updated
from kvmontap.snapshots.prune import Report

_NAMED = 5  # names in one line


def tell(report: Report) -> None:
    """One line for what was deleted, one for what keeps the rest from being."""
    about = {"MESSAGE_ID": RETENTION, "KVMONTAP_VOLUME": report.volume}
    if report.deleted:
        names = ", ".join(report.deleted[:_NAMED]) + (" and others" if len(report.deleted) > _NAMED else "")
        count = f"{len(report.deleted)} old snapshot{'' if len(report.deleted) == 1 else 's'}"
        service.log(service.INFO, f"volume {report.volume}: deleted {count} ({names})", **about)
    if report.finding is not None:
        said = f"{report.finding.text}; what to do: {report.finding.fix} [{report.finding.code}]"
        service.log(service.WARNING, said, KVMONTAP_CODE=report.finding.code, **about)


def tell_mirrored(updated: Updated) -> None:
    """One line for the updates that have begun, one for what kept another from it."""
    about = {"MESSAGE_ID": RETENTION, "KVMONTAP_VOLUME": updated.volume}
    if updated.begun:
        service.log(service.INFO, f"volume {updated.volume}: SnapMirror takes its snapshots to {', '.join(updated.begun)}", **about)
    if updated.finding is not None:
        said = f"{updated.finding.text}; what to do: {updated.finding.fix} [{updated.finding.code}]"
        service.log(service.WARNING, said, KVMONTAP_CODE=updated.finding.code, **about)


def fault(error: BaseException) -> None:
    """A fault of our own; the timer's next run tries again."""
    service.log(service.ERR, f"old snapshots could not be looked at, kvmontap itself failed: {type(error).__name__}: {error}",
                MESSAGE_ID=RETENTION, KVMONTAP_CODE="gate.error")
