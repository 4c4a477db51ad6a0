"""kvmontap: ONTAP storage for KVM hosts, up before libvirt and checked before every VM start."""

__version__ = "0.1.0"
