"""What has become of the pools' health, for the journal."""

from typing import Dict, Optional, Set

from kvmontap import service
from kvmontap.gate import report
from kvmontap.gate.configured import Configured
from kvmontap.model import PoolHealth


class Telling:
    """Tells each change once."""

    def __init__(self) -> None:
        self._told: Dict[str, PoolHealth] = {}

    def use(self, _: Configured, healths: Dict[str, PoolHealth], __: Set[str]) -> Optional[float]:
        """As kvmontap.daemon.keeper wants it."""
        for name, health in healths.items():
            for line in report.health(self._told.get(name), health):
                service.log(line.priority, line.message, **line.fields)
        self._told = dict(healths)
        return None


def fault(error: BaseException) -> None:
    """A fault of our own; the next event or minute tries again."""
    service.log(service.ERR, f"the pools could not be looked at, kvmontap itself failed: {type(error).__name__}: {error}",
                MESSAGE_ID=report.HEALTH, KVMONTAP_CODE="gate.error")
