"""Reading /etc/kvmontap.conf: `load(path)` and `parse(text, path)` give the sound part and all that is wrong with the rest.

Nothing here raises for what a file may contain.  On the boot path.
"""

import os
from typing import Union

from kvmontap.config.read import read
from kvmontap.config.rules import build
from kvmontap.model import Config, Loaded, Problem

PATH = "/etc/kvmontap.conf"


def path_from_environment() -> str:
    """KVMONTAP_CONF, or the file of the installed package."""
    return os.environ.get("KVMONTAP_CONF") or PATH


def load(path: str = PATH) -> Loaded:
    """What the file at `path` says; a file that cannot be read is one Problem and an empty configuration."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return _nothing(path, "is not there; copy the example from /usr/share/doc/kvmontap/examples and edit it")
    except OSError as error:
        return _nothing(path, f"cannot be read: {error.strerror}")
    return parse(data, path)


def parse(text: Union[str, bytes], path: str = PATH) -> Loaded:
    """What `text` says; `path` is only named in problems."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    try:
        found = read(data)
    except ValueError as error:
        return _nothing(path, str(error))
    return build(found, path)


def _nothing(path: str, reason: str) -> Loaded:
    return Loaded(Config({}, {}, {}, path=path), (Problem(path, 0, "", "", reason),))
