"""Attaching block storage: iSCSI and FC LUNs, NVMe namespaces, and the OCFS2 cluster that shares a file system.

Run by the template units kvmontap-iscsi@, kvmontap-nvme@, kvmontap-fc@ and kvmontap-o2cb@ as `python3 -m kvmontap.attach
start|stop KIND NAME`, an edge from end to end.  What was brought up is recorded under /run/kvmontap/attached (ledger.py), and only
what stands there is ever taken down again, whatever the configuration says by then.
"""
