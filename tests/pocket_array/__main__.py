"""python3 -m tests.pocket_array: the array as a program."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

from .array import PocketArray
from .state import DescriptionError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.pocket_array", description=__doc__)
    add = parser.add_argument
    add("--state", metavar="FILE", help="state description, JSON (see README.md)")
    add(
        "--directory",
        metavar="DIR",
        required=True,
        help="certificate authority and certificates live here; ca.pem is for clients",
    )
    add("--address", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port; 0 takes a free one (default)")
    add(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="host name or address in the server certificate; may be repeated",
    )
    add("--certificate", choices=("good", "wrong", "other-name", "expired"), default="good")
    add(
        "--client",
        action="append",
        default=[],
        metavar="USER",
        help="make DIR/client-USER.pem and .key for a certificate login; may be repeated",
    )
    add(
        "--control-token-file",
        metavar="FILE",
        help="the control interface's token; made if missing",
    )
    add(
        "--control-port",
        type=int,
        metavar="PORT",
        help="own listener for /pocket, which no fault touches",
    )
    add(
        "--ready",
        metavar="FILE",
        help="written when the array listens: JSON url, ca, port, control_port",
    )
    return parser


def _token(path: "str | None") -> "str | None":
    """The first line of a file; a new token is put there (mode 0600) when it is not there."""
    if path is None:
        return None
    if not os.path.exists(path):
        import secrets

        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as lines:
            lines.write(secrets.token_urlsafe(16) + "\n")
    with open(path, encoding="utf-8") as lines:
        return lines.readline().strip()


def main() -> int:
    given = _parser().parse_args()
    try:
        description = {}
        if given.state:
            with open(given.state, encoding="utf-8") as text:
                description = json.load(text)
        array = PocketArray(
            description,
            directory=given.directory,
            address=given.address,
            port=given.port,
            names=tuple(given.name) or (given.address, "localhost"),
            certificate=given.certificate,
            control_port=given.control_port,
            control_token=_token(given.control_token_file),
        )
    except (OSError, ValueError, KeyError, TypeError, DescriptionError) as error:
        print(f"pocket array: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: array.stop_asked.set())
    with array:
        for user in given.client:
            array.authority.client(user)
        ready = {
            "url": array.url,
            "ca": array.ca,
            "port": array.port,
            "control_port": array.control_listener and array.control_listener.port,
        }
        if given.ready:
            with open(given.ready + ".new", "w", encoding="utf-8") as text:
                json.dump(ready, text)
            os.replace(given.ready + ".new", given.ready)
        print(json.dumps(ready), flush=True)
        array.stop_asked.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
