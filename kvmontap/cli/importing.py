"""`kvmontap import`: what this host mounts by hand as sections of the file, on stdout or merged into it."""

import argparse
import json
import os
import sys
from typing import Optional, Sequence

from kvmontap.config.onhost import under
from kvmontap.importing import files
from kvmontap.importing.files import CannotImport, Imported
from kvmontap.importing.libvirtpools import Known
from kvmontap.pools.libvirtd import Libvirt, PoolError


def run(arguments: argparse.Namespace) -> int:
    """1 where something that may be a pool's storage stays where it is."""
    try:
        found = _found(arguments)
        if arguments.pool:
            found = _only(found, arguments.pool)
        return _written(found, arguments) if arguments.write else _shown(found, arguments)
    except (CannotImport, PoolError) as error:
        print(f"kvmontap: {error}", file=sys.stderr)
        return 1


def _found(arguments: argparse.Namespace) -> Imported:
    root, conf = arguments.root, arguments.config
    if arguments.function == "fstab":
        return files.from_fstab(root, arguments.file or files.FSTAB, conf)
    if arguments.function == "autofs":
        return files.from_autofs(root, arguments.file, conf)
    return files.from_libvirt(root, _asked(arguments) if root == "/" else None, conf)


def _asked(arguments: argparse.Namespace) -> Optional[Sequence[Known]]:
    with Libvirt(arguments.connect) as connection:
        return [Known(name, state.xml, state.autostart) for name, state in connection.pools().items()]


def _only(found: Imported, names: Sequence[str]) -> Imported:
    wrong = [name for name in names if name not in {one.name for one in found.drafts}]
    if wrong:
        raise CannotImport(f"no pool {wrong[0]} is to be imported; there are: {', '.join(one.name for one in found.drafts) or 'none'}")
    return found._replace(drafts=tuple(one for one in found.drafts if one.name in names))


def _shown(found: Imported, arguments: argparse.Namespace) -> int:
    if arguments.json:
        json.dump({
            "pools": [{"pool": one.name, "origin": one.entry.origin, "line": one.entry.line, "keys": dict(one.keys), "boot": dict(one.boot),
                       "notes": one.notes} for one in found.drafts],
            "left": [one._asdict() for one in found.left],
        }, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return _code(found)
    if found.drafts:
        print("[pools]")
        for lines in files.sections(found):
            print("\n".join(["", *lines]))
    _tell(found)
    return _code(found)


def _written(found: Imported, arguments: argparse.Namespace) -> int:
    conf = arguments.config
    if found.drafts:
        new = not os.path.exists(under(arguments.root, conf))
        backup = files.write(found, arguments.root, conf)
        names = ", ".join(one.name for one in found.drafts)
        count = f"{len(found.drafts)} pool{'' if len(found.drafts) == 1 else 's'}"
        print(f"{conf}: {count} added: {names}" + ("" if new else f"; as it was: {backup}"))
        instead = dict.fromkeys(one.entry.instead for one in found.drafts if one.entry.instead)
        print("now: kvmontap check" + "".join(f"; {one}" for one in instead) + "; systemctl daemon-reload, or reboot")
    else:
        print(f"nothing to import; {conf} is as it was")
    _tell(found)
    return _code(found)


def _tell(found: Imported) -> None:
    for one in found.drafts:
        for note in one.notes:
            place = f"{one.entry.origin}:{one.entry.line}" if one.entry.line else one.entry.origin
            print(f"{place}: pool {one.name}: {note}", file=sys.stderr)
    for left in found.left:
        print(f"left: {left}", file=sys.stderr)


def _code(found: Imported) -> int:
    return int(any(not left.harmless for left in found.left))
