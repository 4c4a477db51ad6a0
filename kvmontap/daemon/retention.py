"""What retention did in the background, for the journal."""

from kvmontap import service
from kvmontap.gate.report import RETENTION
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


def fault(error: BaseException) -> None:
    """A fault of our own; the timer's next run tries again."""
    service.log(service.ERR, f"old snapshots could not be looked at, kvmontap itself failed: {type(error).__name__}: {error}",
                MESSAGE_ID=RETENTION, KVMONTAP_CODE="gate.error")
