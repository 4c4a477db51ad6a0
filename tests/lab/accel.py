"""Which accelerator runs a stock kernel here: KVM when it is tried and works, else TCG."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from . import runner
from .image import Image

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TRIAL_SECONDS = 12


def choose(image: Image) -> str:
    """"kvm" or "tcg".

    A /dev/kvm that can be opened may still fail to run a stock kernel, so one is really started and has to
    reach its first program. The answer is kept until the machine reboots. KVMONTAP_LAB_ACCEL overrides.
    """
    forced = os.environ.get("KVMONTAP_LAB_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    known = runner.cache_directory() / "accelerator"
    stamp = _BOOT_ID.read_text(encoding="ascii").strip()
    try:
        noted, _, answer = known.read_text(encoding="ascii").strip().rpartition(" ")
        if noted == stamp and answer in ("kvm", "tcg"):
            return answer
    except FileNotFoundError:
        pass
    answer = "kvm" if _kvm_runs(image) else "tcg"
    known.write_text(f"{stamp} {answer}\n", encoding="ascii")
    return answer


def _kvm_runs(image: Image) -> bool:
    with tempfile.NamedTemporaryFile(prefix="kvmontap-trial-") as said:
        trial = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults",
             "-no-user-config", "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256",
             "-smp", "2", "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append",
             "console=ttyS0 quiet panic=-1 lab.trial", "-display", "none", "-no-reboot",
             "-serial", "stdio"],
            env=runner.environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        deadline = time.monotonic() + _TRIAL_SECONDS
        text = b""
        try:
            # after an internal error QEMU pauses the VM and stays
            while trial.poll() is None and time.monotonic() < deadline:
                text = Path(said.name).read_bytes()
                if b"LAB-TRIAL-OK" in text or b"KVM internal error" in text:
                    break
                time.sleep(0.1)
        finally:
            trial.kill()
            trial.wait()
        return b"LAB-TRIAL-OK" in Path(said.name).read_bytes()
