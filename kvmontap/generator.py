"""The systemd generator: reads the configuration and writes its units.  See systemd.generator(7).

It runs before everything else, at each boot and daemon-reload, with every other generator at its side, and PID 1 waits for it.  So:
imports are few and cheap; nothing is asked of anyone (no names looked up, no daemon, no array); only /dev/kmsg can be told
anything; a broken section costs that section and nothing more.
"""

import os
import sys
from typing import Dict, List, Optional, Sequence, Tuple

from kvmontap.config import load, path_from_environment
from kvmontap.model import SMB, Config, Loaded
from kvmontap.units import Bundle, bundle
from kvmontap.units.mounted import Owner

NAME = "kvmontap-generator"
KMSG = "/dev/kmsg"
# Level 4 is a warning: 3 would wait for a serial console to print it, 2 ms a line.
KMSG_LINES = 8  # the kernel drops what comes faster than ten lines in five seconds
KMSG_BYTES = 800  # and refuses a line beyond 1024 with its prefix


def main(argv: Sequence[str]) -> int:
    """Writes below argv[1]; 0, or 1 where something of ours failed (which the kernel log tells)."""
    try:
        if len(argv) not in (2, 4):
            tell([f"takes one or three directories, not {len(argv) - 1}"])
            return 1
        return run(argv[1], path_from_environment())
    except Exception as error:  # PID 1 has no use for a traceback, and nobody would see it
        tell([f"failed: {type(error).__name__}: {error}; please report this"])
        return 1


def run(directory: str, path: str) -> int:
    """Units of the configuration at `path`, written below `directory`."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0  # not configured yet, or removed on purpose
    except OSError:
        pass  # load() tells
    made, lost = units_of(load(path))
    failed = write(directory, made.files, made.links)
    complaints = [f"{bug}; please report this" for bug in made.bugs] + failed
    tell(lost + complaints + [str(problem) for problem in made.problems if not problem.note])
    return 1 if complaints else 0


def units_of(loaded: Loaded, root: str = "/") -> Tuple[Bundle, List[str]]:
    """(every unit of the configuration on the host whose root is `root`, what could not be used for it)."""
    config, lost = _with_last_good(loaded, root) if any(problem.fatal for problem in loaded.problems) else (loaded.config, [])
    return bundle(config, loaded.problems, _owner(config, root)), lost


def _with_last_good(loaded: Loaded, root: str) -> Tuple[Config, List[str]]:
    """The sound pools, and for the broken ones those that were applied before."""
    try:
        from kvmontap import applied  # late: only a broken file needs it

        old = applied.carried(loaded, applied.read(root.rstrip("/") + applied.path()))
    except Exception as error:  # the sound pools must come up whatever that record holds
        return loaded.config, [f"the last applied configuration cannot be used: {type(error).__name__}: {error}"]
    return loaded.config._replace(pools={**loaded.config.pools, **old}), []


def _owner(config: Config, root: str) -> Optional[Owner]:
    if not any(pool.protocol == SMB for pool in config.pools.values()):
        return None
    from kvmontap.owner import qemu_owner  # late: NFS needs none

    return qemu_owner(root)


def write(directory: str, files: Dict[str, str], links: Dict[str, str]) -> List[str]:
    """Write a bundle; one line for each thing that could not be written, the rest is there.

    Another run may write the same names at the same time, so each appears whole or not at all."""
    failed = []
    made = set()
    steps: List[Tuple] = [(_write_file, *item) for item in files.items()] + [(_write_link, *item) for item in links.items()]
    for step, relative, content in steps:
        path = f"{directory}/{relative}"
        parent = path.rpartition("/")[0]
        try:
            if parent not in made:
                _make_directory(parent)
                made.add(parent)
            temporary = f"{parent}/.{os.urandom(6).hex()}.tmp"
            try:
                step(temporary, content)
                os.rename(temporary, path)
            except BaseException:
                _remove(temporary)
                raise
        except OSError as error:
            failed.append(f"{path} cannot be written: {error.strerror}")
    return failed


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path)
    except FileExistsError:
        return
    os.chmod(path, 0o755)  # whatever the umask


def _write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        rest = text.encode("utf-8", "surrogateescape")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, 0o644)  # whatever the umask
    finally:
        os.close(descriptor)


def _write_link(path: str, target: str) -> None:
    os.symlink(target, path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def tell(lines: List[str]) -> None:
    """Lines for the kernel log, the only place that is there this early; errors are swallowed (a container has none)."""
    if len(lines) > KMSG_LINES:
        lines = lines[: KMSG_LINES - 1] + [f"{len(lines) - KMSG_LINES + 1} more; run: kvmontap check"]
    try:
        descriptor = os.open(KMSG, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return
    try:
        for line in lines:
            text = "".join(char if char.isprintable() else "?" for char in line)
            os.write(descriptor, f"<4>{NAME}[{os.getpid()}]: {text}".encode("utf-8", "replace")[:KMSG_BYTES] + b"\n")
    except OSError:
        pass
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
