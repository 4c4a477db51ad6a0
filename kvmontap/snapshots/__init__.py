"""Snapshots before a VM starts or arrives: which, under what name, and taken together where they can be."""

from kvmontap.snapshots.commit import Outcome, Snapshotter
from kvmontap.snapshots.plan import Plan, Request, plan
from kvmontap.snapshots.reuse import Reuse

__all__ = ["Outcome", "Plan", "Request", "Reuse", "Snapshotter", "plan"]
