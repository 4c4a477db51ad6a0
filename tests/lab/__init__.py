"""Virtual machines with stock Debian kernels: a storage VM and KVM hosts, driven from Python.

`Lab` starts them; `image.build` makes the disk image that they share. See README.md.
"""

from .kvmhost import KvmHost
from .lab import HOSTS, NETWORKS, Lab
from .runner import RUNNER_PACKAGES, missing_packages
from .vm import VM, LabError, Result

__all__ = ["HOSTS", "NETWORKS", "RUNNER_PACKAGES", "VM", "KvmHost", "Lab", "LabError", "Result",
           "missing_packages"]
