"""The command line of `kvmontap snapshot`; imports nothing else, so that every other command pays nothing for it."""

import argparse
from typing import Callable


def snapshot(command: Callable[..., argparse.ArgumentParser], commands: argparse._SubParsersAction) -> None:
    """Adds the snapshot commands; command(commands, name, text) makes one with the options that all commands have."""
    below = command(commands, "snapshot", "the array's snapshots of VMs").add_subparsers(
        dest="snapshot_command", metavar="COMMAND", required=True
    )

    one = command(below, "list", "list the snapshots that kvmontap has taken")
    one.add_argument("what", nargs="*", metavar="WHAT", help="only of these VMs, pools or snapshots, by name or UUID")
    one.add_argument("--all", action="store_true", help="also those of the volumes that others have taken")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to ask which VMs lie on the volumes")
    _finish(one, "list")

    one = command(below, "create", "take a snapshot of a VM's storage, or of whole pools; it stays until somebody deletes it")
    one.add_argument("vm", nargs="?", metavar="VM", help="the VM")
    one.add_argument("--pool", action="append", default=[], metavar="POOL", help="this pool; may be given several times")
    one.add_argument("--label", metavar="LABEL", help="SnapMirror label in place of the configured one")
    one.add_argument("--lock-days", type=_days, metavar="DAYS", help="lock it for so many days where the volume allows that")
    one.add_argument("--quiesce", action="store_true",
                     help="freeze the VM's file systems through its guest agent meanwhile; no snapshot without")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to ask about the VM")
    _finish(one, "create")

    one = command(below, "delete", "delete snapshots that kvmontap has taken")
    one.add_argument("snapshot", nargs="+", metavar="SNAPSHOT", help="name of a snapshot")
    one.add_argument("--pool", action="append", default=[], metavar="POOL", help="only on this pool's volume")
    one.add_argument("--yes", action="store_true", help="do not ask")
    _finish(one, "delete")

    one = command(below, "prune", "delete the snapshots that keep and keep-days of [snapshots] no longer ask for")
    one.add_argument("pool", nargs="*", metavar="POOL", help="only on the volumes of these pools")
    one.add_argument("--dry-run", action="store_true", help="tell what would be deleted and delete nothing")
    _finish(one, "prune")

    one = command(below, "restore", "bring the disks of one VM back as they were in a snapshot")
    one.add_argument("vm", metavar="VM", help="the VM, by name or UUID; it must be off unless --as is given")
    one.add_argument("--from", required=True, dest="snapshot", metavar="SNAPSHOT", help="the snapshot")
    one.add_argument("--disk", action="append", default=[], metavar="TARGET", help="only this disk (vda); may be given several times")
    one.add_argument("--as", dest="new", default="", metavar="NEWNAME", help="leave the VM alone and define a second one of that name, off")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to talk to")
    one.set_defaults(action="snapshot", function="restore")

    one = command(below, "revert", "take a whole pool back to a snapshot; what was written after it is lost, and every newer snapshot")
    one.add_argument("pool", metavar="POOL", help="the pool; no VM may use it, on any host, and no other host may have it mounted")
    one.add_argument("--to", required=True, dest="snapshot", metavar="SNAPSHOT", help="the snapshot")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to talk to")
    one.set_defaults(action="snapshot", function="revert")


def work(command: Callable[..., argparse.ArgumentParser], commands: argparse._SubParsersAction) -> None:
    """Adds clone and tidy."""
    one = command(commands, "clone", "make new VMs from the disks of one, off, sharing its blocks where the storage can")
    one.add_argument("vm", metavar="VM", help="the VM, by name or UUID; it may run")
    one.add_argument("new", metavar="NEW", help="name of the new VM; with --count, NEW-1, NEW-2, ...")
    one.add_argument("--from", dest="snapshot", default="", metavar="SNAPSHOT", help="as it was in a snapshot; as it is now unless said")
    one.add_argument("--count", type=_count, default=0, metavar="N", help="so many of them")
    one.add_argument("--disk", action="append", default=[], metavar="TARGET", help="only with this disk (vda); may be given several times")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to talk to")
    one.set_defaults(action="clone", function="clone")

    one = command(commands, "tidy", "take away or finish what an interrupted restore, clone or revert has left on this host or the array")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to talk to")
    one.set_defaults(action="tidy", function="tidy")


def _finish(one: argparse.ArgumentParser, function: str) -> None:
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(action="snapshot", function=function)


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 1000:
        raise argparse.ArgumentTypeError("must lie between 1 and 1000")
    return count


def _days(text: str) -> int:
    days = int(text)
    if not 0 <= days <= 36500:
        raise argparse.ArgumentTypeError("must lie between 0 and 36500")
    return days
