"""`kvmontap example-config`: the example file, from the key table."""

import argparse

from kvmontap.config.document import example


def run(_arguments: argparse.Namespace) -> int:
    print(example())
    return 0
