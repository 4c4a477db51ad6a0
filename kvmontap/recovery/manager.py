"""What systemd is asked for: how units are, and that some are started or reloaded.

By systemctl and not over the bus: one process for a question now and then, whose end is waited for with a deadline.  A job is only queued
(--no-block): how it ends is seen at the next look.
"""

import subprocess
from typing import Dict, Sequence

from kvmontap.recovery.decide import NOTHING, Unit

SYSTEMCTL = "/usr/bin/systemctl"
SECONDS = 20.0
_PROPERTIES = "Id,LoadState,ActiveState,ActiveEnterTimestampMonotonic,Job"


class ManagerError(Exception):
    """What systemd did not do, in one sentence."""


class Manager:
    """The system's service manager."""

    def __init__(self, systemctl: str = SYSTEMCTL) -> None:
        self._systemctl = systemctl

    def states(self, units: Sequence[str]) -> Dict[str, Unit]:
        """How these units are; one that systemd does not tell about is NOTHING."""
        if not units:
            return {}
        found = parse(self._run("show", f"--property={_PROPERTIES}", "--", *units))
        return {name: found.get(name, NOTHING) for name in units}

    def act(self, verb: str, unit: str) -> None:
        """Queue a job; `verb`: start, reload."""
        self._run(verb, "--no-block", "--", unit)

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run((self._systemctl, "--no-ask-password", "--no-pager", *arguments), stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=SECONDS, check=False, env={"LC_ALL": "C"})  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ManagerError(f"systemd has not answered for {SECONDS:.0f} s") from None
        except OSError as error:
            raise ManagerError(f"{self._systemctl} cannot be run: {error.strerror}") from None
        if done.returncode and arguments[0] != "show":
            said = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise ManagerError(f"systemctl {arguments[0]} {arguments[-1]}: {said or f'status {done.returncode}'}")
        return done.stdout.decode("utf-8", "replace")


def parse(text: str) -> Dict[str, Unit]:
    """The units in the output of `systemctl show`, by name.  Pure."""
    found = {}
    for block in text.split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in said:
            found[said["Id"]] = Unit(
                active=said.get("ActiveState", "inactive"),
                ran=said.get("ActiveEnterTimestampMonotonic", "0") not in ("", "0"),
                known=said.get("LoadState") == "loaded",
                job=said.get("Job", "") not in ("", "0"),
            )
    return found
