"""The command lines of what looks at a host or an array and tells; imports nothing else, so that other commands pay nothing."""

import argparse
from typing import Callable

Command = Callable[..., argparse.ArgumentParser]


def add(command: Command, commands: argparse._SubParsersAction) -> None:
    """Adds the commands; command(commands, name, text) makes one with the options that all commands have."""
    one = command(commands, "status", "show the health of every pool: as the gate would judge it now, and what stands behind it")
    one.add_argument("pool", nargs="*", help="only these pools")
    one.add_argument("--watch", nargs="?", type=_seconds, const=5.0, metavar="SECONDS", help="again and again, every %(const)g seconds "
                     "unless said; with --json a line for each round")
    _finish(one, "status")

    one = command(commands, "host-id", "print the names by which an array knows this host: IQN, WWPNs, NQN")
    _root(one)
    _finish(one, "hostid")

    one = command(commands, "role", "print the least-privilege role that the arrays of the file are to give us")
    one.add_argument("array", nargs="*", metavar="ARRAY", help="only for these subsections of [ontap]")
    one.add_argument("--vserver", default="", metavar="NAME", help="where the account lives, in place of svm= of the section")
    one.add_argument("--all", action="store_true", help="every right that any feature needs, whether the file uses it or not")
    _finish(one, "role")

    one = command(commands, "doctor", "check what this host, the arrays and the VMs should be like for the pools of the configuration")
    one.add_argument("pool", nargs="*", metavar="POOL", help="only these pools")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to ask about its VMs; with --root nobody is asked")
    _root(one)
    _finish(one, "doctor")

    one = command(commands, "graph", "draw what every VM stands on, from pool to volume, and the order of the boot, in Graphviz's language")
    one.add_argument("pool", nargs="*", metavar="POOL", help="only these pools")
    one.add_argument("--svg", default="", metavar="FILE", help="write a picture instead, by Graphviz's dot; - for stdout")
    one.add_argument("--offline", action="store_true", help="ask neither libvirt nor the arrays: only what the configuration tells")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to ask about its VMs")
    _root(one)
    one.set_defaults(action="graph", function="graph")

    one = command(commands, "plan", "show what the generator and kvmontap-pools.service would make of the configuration; changes nothing")
    one.add_argument("pool", nargs="*", metavar="POOL", help="only these pools")
    one.add_argument("--diff", action="store_true", help="only what differs from what runs now: units, mounts, libvirt's pools; exit 1 if "
                     "anything does")
    one.add_argument("--units", action="store_true", help="also the text of every unit")
    one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to compare with; with --root its files are read")
    _root(one)
    _finish(one, "plan")

    below = command(commands, "import", "turn what this host mounts by hand into sections of the configuration").add_subparsers(
        dest="import_command", metavar="COMMAND", required=True)
    for name, text, where in (
        ("fstab", "import the NFS and SMB mounts of fstab", "FILE in place of /etc/fstab"),
        ("autofs", "import the maps of automount, direct and indirect", "master map in place of /etc/auto.master"),
        ("libvirt", "import libvirt's pools and what is mounted under them", ""),
    ):
        one = command(below, name, text)
        if where:
            one.add_argument("file", nargs="?", default="", metavar="FILE", help=where)
        else:
            one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to ask; with --root its files are read")
        one.add_argument("--pool", action="append", default=[], metavar="POOL", help="only this one; may be given several times")
        one.add_argument("--write", action="store_true", help="put the sections into the configuration; a copy of it as it was is kept")
        _root(one)
        _finish(one, "importing")
        one.set_defaults(function=name)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 to 3600")
    return seconds


def _root(one: argparse.ArgumentParser) -> None:
    one.add_argument("--root", default="/", metavar="DIR", help="look at files below DIR instead of /")


def _finish(one: argparse.ArgumentParser, action: str) -> None:
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(action=action, function=action)
