"""`kvmontap check`: every problem of the configuration, strictly, at once."""

import argparse
import json
import sys

from kvmontap.config import load
from kvmontap.config.onhost import look, under


def run(arguments: argparse.Namespace) -> int:
    """Print the problems; 1 when there is anything to mend."""
    loaded = load(under(arguments.root, arguments.config))
    loaded = loaded._replace(config=loaded.config._replace(path=arguments.config))
    problems = loaded.problems + look(loaded.config, arguments.root)
    wrong = [problem for problem in problems if not problem.note]
    if arguments.json:
        json.dump([problem._asdict() for problem in problems], sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 1 if wrong else 0
    for problem in problems:
        print(f"note: {problem}" if problem.note else problem, file=sys.stdout if problem.note else sys.stderr)
    counts = ", ".join(_count(number, word) for number, word in (
        (len(loaded.config.pools), "pool"), (len(loaded.config.arrays), "array"), (len(loaded.config.clusters), "cluster")))
    if wrong:
        print(f"{arguments.config}: {_count(len(wrong), 'problem')}; usable as it is: {counts}", file=sys.stderr)
        return 1
    print(f"{arguments.config}: {counts}, no problem found")
    return 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
