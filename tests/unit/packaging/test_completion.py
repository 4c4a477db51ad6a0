"""What the shells really complete: bash, zsh and fish as Debian ships them, each with the file that the package installs."""

import argparse
import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from kvmontap.cli import completion, parser

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CONF = "[ontap]\n[[prod]]\naddress = a\n" \
       "[pools]\n  [[kvmnfs01]]\n  protocol = nfs\n    [[[gate]]]\n    mode = off\n  [[kvmfc01]]\n[clusters]\n[[kvmcl01]]\n"
CASES = [
    ("doct", ["doctor"]), ("import ", ["autofs", "fstab", "libvirt"]), ("import fstab --wr", ["--write"]), ("status kvmn", ["kvmnfs01"]),
    ("role ", ["prod"]), ("plan --units kvmf", ["kvmfc01"]), ("snapshot prune --dr", ["--dry-run"]), ("check --root /us", ["/usr/"]),
    ("import autofs --pool kvmf", ["kvmfc01"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The directory with the files, and a configuration beside them."""
    directory = tmp_path_factory.mktemp("completion")
    subprocess.run([sys.executable, "packaging/completion", str(directory)], cwd=ROOT, check=True)
    (directory / "k.conf").write_text(CONF)
    return directory


def environment(made):
    return {**os.environ, "KVMONTAP_CONF": str(made / "k.conf"), "TERM": "dumb", "HOME": str(made), "LC_ALL": "C.UTF-8"}


def shell(made, *argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment(made))
    assert done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("typed, wanted", CASES)
def test_bash(made, typed, wanted):
    script = ('source "$1"; COMP_WORDS=(kvmontap $2); [[ $2 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
              'COMP_LINE="kvmontap $2"; _kvmontap; printf "%s\\n" "${COMPREPLY[@]}"')
    assert sorted(shell(made, "bash", "-c", script, "bash", str(made / "bash"), typed).split()) == sorted(
        one.rstrip("/") for one in wanted)


@pytest.mark.parametrize("typed, wanted", CASES)
def test_fish(made, typed, wanted):
    said = shell(made, "fish", "--no-config", "-c", "source $argv[1]; complete -C \"kvmontap $argv[2]\"", str(made / "fish"), typed)
    assert sorted(line.split("\t")[0] for line in said.splitlines()) == sorted(wanted)


def test_zsh(made):
    """A real terminal, since zsh completes nowhere else: one session, a line for each case."""
    functions = made / "functions"
    functions.mkdir()
    shutil.copy(made / "zsh", functions / "_kvmontap")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(made))
    try:
        said = b""
        start = f"PS1='> '; fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=0; echo re''ady\n"
        os.write(terminal, start.encode())
        said = until(terminal, b"ready\r")
        for typed, wanted in CASES:
            os.write(terminal, f"kvmontap {typed}\t".encode())
            last = typed.split(" ")[-1] if not typed.endswith(" ") else ""
            # One answer is completed in place, several are listed.
            whole = [typed[: len(typed) - len(last)] + wanted[0]]
            ends = [one.encode() for one in (wanted if len(wanted) > 1 else whole)]
            said = until(terminal, *ends)
            assert b"eval" not in said and b"not found" not in said, said
            os.write(terminal, b"\x15")  # the line goes
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def until(terminal, *wanted, seconds=60.0):
    """What the terminal shows until all of `wanted` is in it."""
    said, end = b"", time.monotonic() + seconds
    while not all(one in said for one in wanted):
        assert time.monotonic() < end, f"{wanted} is not in {said!r}"
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 65536)
    return said


def leaves(one, path=()):
    """(path, options) of every command, from argparse itself."""
    options = {name for action in one._actions for name in action.option_strings}
    yield path, options
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from leaves(sub, (*path, name))


def test_nothing_of_the_parser_is_missing(made):
    found = {command.path: {name for option in command.options for name in option.names} for command in completion.walk(parser())}
    assert found == dict(leaves(parser()))
    texts = {name: (made / name).read_text() for name in ("bash", "zsh", "fish")}
    for path, options in found.items():
        for word in (*path[-1:], *options):
            assert word in texts["bash"] and word in texts["zsh"] and word.lstrip("-") in texts["fish"], (path, word)
