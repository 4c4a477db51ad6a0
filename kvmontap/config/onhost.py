"""What only a look at this host can tell of a configuration: secrets' modes, missing files, targets that are links.

An edge for `kvmontap check`; the generator never comes here, since these files may lie on storage that hangs.
"""

import os
import ssl
from typing import Dict, Iterator, List, Tuple

from kvmontap.config.read import index_of, read
from kvmontap.config.secrets import SecretError, read_pairs, secret_path, usable
from kvmontap.model import Array, Config, Pool, Problem


def look(config: Config, root: str = "/") -> Tuple[Problem, ...]:
    """Problems of `config` on the host whose root is `root`."""
    found: List[Problem] = []
    for array in config.arrays.values():
        found += [_problem(config, ("ontap", array.name), key, reason) for key, reason in _array(array, root)]
    for pool in config.pools.values():
        found += [_problem(config, ("pools", pool.name), key, reason) for key, reason in _pool(pool, root)]
    index = _lines(under(root, config.path)) if found else {}
    return tuple(problem._replace(line=_line(index, problem)) for problem in found)


def _lines(path: str) -> Dict:
    """Where sections and keys stand; empty where the file cannot be read again."""
    try:
        with open(path, "rb") as stream:
            return index_of(read(stream.read()).lines)
    except (OSError, ValueError):
        return {}


def _line(index: Dict, problem: Problem) -> int:
    header, keys = index.get(tuple(problem.section.split("/")), (0, {}))
    return keys.get(problem.key, header)


def _problem(config: Config, where: Tuple[str, str], key: str, reason: str) -> Problem:
    return Problem(config.path, 0, "/".join(where), key, reason, fatal=False)


def under(root: str, path: str) -> str:
    """`path` below `root`."""
    return path if root == "/" else root.rstrip("/") + path


def _array(array: Array, root: str) -> Iterator[Tuple[str, str]]:
    for key, name in (("password-file", array.password_file), ("token-file", array.token_file), ("key", array.key)):
        if name and "/" in name:
            yield from _secret(key, name, root)
    for key, path in (("certificate", array.certificate), ("ca", array.ca)):
        if not path:
            continue
        try:
            with open(under(root, path), "rb") as stream:
                text = stream.read(1 << 20).decode("latin-1")
            ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :].split("-----END CERTIFICATE-----")[0]
                                     + "-----END CERTIFICATE-----\n")
        except FileNotFoundError:
            yield key, f"{path} is not there"
        except OSError as error:
            yield key, f"{path} cannot be read: {error.strerror}"
        except ValueError:
            yield key, f"{path} has no PEM certificate in it"


def _secret(key: str, name: str, root: str) -> Iterator[Tuple[str, str]]:
    try:
        usable(under(root, secret_path(name)))
    except SecretError as error:
        yield key, str(error)


def _pool(pool: Pool, root: str) -> Iterator[Tuple[str, str]]:
    for key, name in (("credentials", pool.credentials), ("chap-file", pool.chap_file)):
        if not name:
            continue
        problems = list(_secret(key, name, root))
        yield from problems
        if not problems and not read_pairs(under(root, secret_path(name))).get("username"):
            yield key, f"{name} has no line username=NAME"
    for key, name in (("dhchap-file", pool.dhchap_file), ("tls-key-file", pool.tls_key_file)):
        if name:
            yield from _secret(key, name, root)
    if pool.target:
        link = _link(pool.target, root)
        if link:
            real = os.path.realpath(under(root, link))
            yield "target", f"{link} is a symbolic link; systemd mounts on real directories only, so name {real}"
        elif os.path.lexists(under(root, pool.target)) and not os.path.isdir(under(root, pool.target)):
            yield "target", f"{pool.target} is not a directory"


def _link(target: str, root: str) -> str:
    """The first symbolic link on the way to `target`, or ""."""
    parts = target.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        path = "/" + "/".join(parts[:count])
        if os.path.islink(under(root, path)):
            return path
    return ""
