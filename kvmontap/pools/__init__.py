"""libvirt's own storage pools, defined, started and autostarted as /etc/kvmontap.conf says.

`xml` and `plan` are pure; `libvirtd` is the one module that imports libvirt; `apply` puts them together for the command line and for
kvmontap-pools.service, whose program is `python3 -m kvmontap.pools`.
"""
