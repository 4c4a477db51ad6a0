"""Secrets from files: refused when anybody but root could read them, and never named in an error by content.

An edge: touches files.  Not on the boot path.
"""

import os
import stat
from typing import Dict


class SecretError(Exception):
    """One sentence on why a secret cannot be used: which file, what is wrong, what to do."""


def secret_path(name: str) -> str:
    """The file behind a configured secret: a path as it is, a bare name as a systemd credential of this service."""
    if "/" in name:
        return name
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(f"{name} is a systemd credential, but this process has none; use an absolute path, or LoadCredential={name}:FILE")
    return os.path.join(directory, name)


def judge_file(path: str) -> str:
    """Why the file at `path` is not fit for a secret, or "" when it is."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return f"{path} is not there; create it with mode 0600"
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a regular file"
    if stat.S_IMODE(found.st_mode) & 0o077:
        return f"{path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}); run: chmod 600 {path}"
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {found.st_uid}; run: chown root {path}"
    return ""


def read_secret(name: str) -> str:
    """The first line of a password or token file; SecretError when it is missing, open to others or empty."""
    path = secret_path(name)
    text = _text(path).split("\n", 1)[0].rstrip("\r")
    if not text:
        raise SecretError(f"{path} is empty; put the secret on its first line")
    return text


def read_pairs(name: str) -> Dict[str, str]:
    """`key=value` lines of a CHAP or SMB credentials file."""
    pairs = {}
    for line in _text(secret_path(name)).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            pairs[key.strip()] = value.strip()
    return pairs


def usable(name: str) -> str:
    """The path of a secret that a library reads itself (a private key), after the same questions."""
    path = secret_path(name)
    if "/" in name:  # systemd guards credentials by itself, with its own modes
        reason = judge_file(path)
        if reason:
            raise SecretError(reason)
    return path


def _text(path: str) -> str:
    if not path.startswith(os.environ.get("CREDENTIALS_DIRECTORY") or "\0"):
        reason = judge_file(path)
        if reason:
            raise SecretError(reason)
    try:
        with open(path, "rb") as stream:
            return stream.read(1 << 16).decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}") from None
