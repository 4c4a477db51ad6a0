"""`kvmontap role`: the least-privilege role and account for each array, as ONTAP commands or REST bodies."""

import argparse
import json
import sys

from kvmontap.array import role as roles
from kvmontap.config import load


def run(arguments: argparse.Namespace) -> int:
    """2 where an array is named that the file does not have, 1 where it has none at all."""
    config = load(arguments.config).config
    wrong = [name for name in arguments.array if name not in config.arrays]
    if wrong:
        print(f"kvmontap: {arguments.config} has no array {wrong[0]}; there are: {', '.join(config.arrays) or 'none'}", file=sys.stderr)
        return 2
    if not config.arrays:
        print(f"kvmontap: {arguments.config} has no sound section of [ontap]; run: kvmontap check", file=sys.stderr)
        return 1
    made = [roles.role(config.arrays[name], config, arguments.vserver, arguments.all) for name in arguments.array or config.arrays]
    if arguments.json:
        json.dump([{"array": one.array, "user": one.user, "role": roles.body(one), "commands": roles.commands(one),
                    "notes": roles.notes(one)} for one in made], sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    for place, one in enumerate(made):
        print(f"{chr(10) if place else ''}# array {one.array} ({config.arrays[one.array].address})")
        for note in roles.notes(one):
            print(f"# note: {note}")
        for line in roles.commands(one):
            print(line)
    return 0
