"""The command line: arguments in, one of the actions called, exit 0 fine, 1 a problem found or refused, 2 usage.

An action takes the parsed arguments and gives the exit code; no traceback ever reaches a user.
"""

import argparse
import os
import sys
from typing import Optional, Sequence

import kvmontap
from kvmontap.cli import arguments, looking
from kvmontap.config import path_from_environment


def parser() -> argparse.ArgumentParser:
    """The whole command line; completion and the man page's synopsis are made from it."""
    top = argparse.ArgumentParser(prog="kvmontap", description="ONTAP storage for KVM hosts.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"kvmontap {kvmontap.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    one = _command(commands, "check", "read the configuration and print every problem at once")
    one.add_argument("--root", default="/", metavar="DIR", help="look at files below DIR instead of /")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(action="check", function="check")

    pool = _command(commands, "pool", "libvirt's storage pools").add_subparsers(dest="pool_command", metavar="COMMAND", required=True)
    for name, text in (("list", "compare the pools of the file with libvirt's"),
                       ("apply", "define, start and autostart what is missing in libvirt; take down what is gone from the file")):
        one = _command(pool, name, text)
        one.add_argument("--connect", default="qemu:///system", metavar="URI", help="libvirt to talk to")
        one.add_argument("--json", action="store_true", help="print JSON")
        one.set_defaults(action="pool", function=name)

    arguments.snapshot(_command, commands)
    arguments.work(_command, commands)
    looking.add(_command, commands)

    one = _command(commands, "provision",
                   "plan what makes a pool of the configuration (nfs: volume and export policy; block: file system), and do it with --do")
    one.add_argument("pool", metavar="POOL", help="the pool; a block pool is attached already")
    one.add_argument("--size", default="", metavar="SIZE", help="nfs: how large the volume is to be, 500G for example")
    one.add_argument("--aggregate", default="", metavar="NAME", help="nfs: the aggregate that the volume is made on")
    one.add_argument("--client", action="append", default=[], metavar="ADDRESS",
                     help="nfs: a host or network that may mount it, in place of this host's own addresses; block: another host's IQN, "
                     "WWPN or NQN, beside this one's; may be given several times")
    one.add_argument("--slots", type=int, default=0, metavar="N",
                     help="ocfs2: how many hosts can mount it at once; as many as the cluster has nodes unless said")
    one.add_argument("--do", action="store_true", help="run the commands on this host; before it formats, the pool's name is asked for")
    one.add_argument("--yes", action="store_true", help="with --do: do not ask")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.set_defaults(action="provision", function="provision")

    one = commands.add_parser("example-config", help="print a configuration with every key, commented out", allow_abbrev=False)
    one.set_defaults(action="example", function="example")
    return top


def _command(commands, name: str, text: str) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    one.add_argument("--config", default=path_from_environment(), metavar="FILE", help="read FILE instead of %(default)s")
    return one


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; `argv` without the program's name, the process's own by default."""
    given = parser().parse_args(argv)
    try:
        module = __import__(f"kvmontap.cli.{given.action}", fromlist=["run"])
        return module.run(given)
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough; the interpreter must not complain at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("kvmontap: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # pylint: disable=broad-except
        if os.environ.get("KVMONTAP_DEBUG"):
            raise
        print(f"kvmontap: {given.command} failed: {type(error).__name__}: {error} (KVMONTAP_DEBUG=1 shows where)", file=sys.stderr)
        return 1
