"""The last good text: pools as they were when their units were last started, kept under /run.

kvmontap-applied.service records it, wanted by each of our mounts.  At a daemon-reload the generator takes a section that has
become broken from here, so that a typo never detaches storage.  The record is a configuration itself, of the [pools] alone and
only with what decides their units.
"""

import os
import sys
from typing import Dict, Iterable, List, Optional

from kvmontap.config import load, parse, path_from_environment
from kvmontap.config.table import KEYS
from kvmontap.model import Boot, Cluster, Loaded, Pool

PATH = "/run/kvmontap/applied.conf"
# What the gate and the snapshots need, and names of sections that the record does not have.
_LEFT_OUT = ("name", "boot", "gate", "snapshots", "ontap", "volume", "snapshot_scope")


def path() -> str:
    """KVMONTAP_APPLIED, or the file of the installed package."""
    return os.environ.get("KVMONTAP_APPLIED") or PATH


def clusters(file: Optional[str] = None) -> Dict[str, Cluster]:
    """The recorded clusters."""
    return load(file or path()).config.clusters


def read(file: Optional[str] = None) -> Dict[str, Pool]:
    """The recorded pools; none where nothing was recorded or the record cannot be read."""
    return load(file or path()).config.pools


def carried(loaded: Loaded, old: Dict[str, Pool]) -> Dict[str, Pool]:
    """The pools of `old` that stand in for sections that are broken now.

    Where the file as a whole or a header of a section is broken nobody can say which pools were meant to go: all of them stay."""
    whole = any(problem.fatal and not _elsewhere(problem.section) for problem in loaded.problems)
    now = loaded.config.pools
    targets = [pool.target for pool in now.values()]
    return {
        name: pool
        for name, pool in old.items()
        if name not in now and (whole or name in loaded.broken) and not any(_overlap(pool.target, one) for one in targets)
    }


def removed(loaded: Loaded, old: Dict[str, Pool]) -> Dict[str, Pool]:
    """The pools of `old` that were taken out of the file on purpose: they run on until somebody applies that."""
    stay = carried(loaded, old)
    targets = [pool.target for pool in loaded.config.pools.values()]
    return {
        name: pool
        for name, pool in old.items()
        if name not in loaded.config.pools and name not in stay and not any(_overlap(pool.target, one) for one in targets)
    }


def _elsewhere(section: str) -> bool:
    """Whether a problem in `section` says nothing about which pools there are."""
    top, slash, _ = section.partition("/")
    return bool(slash) if top in ("pools", "ontap", "clusters") else section in KEYS


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def text(pools: Dict[str, Pool], clusters: Optional[Dict[str, Cluster]] = None) -> str:
    """`pools` and the clusters that they name as a configuration: parse(text(...)).config.pools has the same units."""
    used = {pool.cluster for pool in pools.values()}
    described = ["[clusters]"] if used - {""} else []
    for cluster in (clusters or {}).values():
        described += _cluster(cluster) if cluster.name in used else []
    lines = ["# Recorded by kvmontap-applied.service; not to be edited", *described, "[pools]"]
    for pool in pools.values():
        section = _section(pool)
        # What cannot be written so that it reads back the same is better not recorded.
        back = parse("\n".join(described + ["[pools]"] + section)).config.pools.get(pool.name)
        if back is not None and _same(back, pool):
            lines += section
    return "\n".join(lines) + "\n"


def _cluster(cluster: Cluster) -> List[str]:
    return [f"[[{cluster.name}]]", f"stack = {cluster.stack}", f"heartbeat-threshold = {cluster.heartbeat_threshold}", "[[[nodes]]]",
            *(f"{node.name} = {node.address}, {node.port}, {node.number}" for node in cluster.nodes)]


def _same(one: Pool, other: Pool) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in Pool._fields if name not in _LEFT_OUT[2:])


def _section(pool: Pool) -> List[str]:
    lines = [f"[[{pool.name}]]"]
    for name in Pool._fields:
        value = getattr(pool, name)
        if name not in _LEFT_OUT and value != Pool._field_defaults.get(name):
            lines.append(f"{name.replace('_', '-')} = {_value(value)}")
    lines.append("[[[boot]]]")
    for name in Boot._fields:
        if getattr(pool.boot, name) != Boot._field_defaults[name]:
            lines.append(f"{name.replace('_', '-')} = {_value(getattr(pool.boot, name))}")
    return lines


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple):
        return ", ".join(_quoted(str(one)) for one in value)
    return _quoted(str(value))


def _quoted(value: str) -> str:
    for quote in ('"', "'", '"""', "'''"):
        if quote[0] not in value or (len(quote) == 3 and quote not in value and not value.endswith(quote[0])):
            return quote + value + quote
    return f'"{value}"'  # reads back as something else, which text() notices


def record(conf: str, file: str) -> None:
    """Write to `file` the pools of the configuration at `conf`, and of its broken or missing sections as they were before."""
    loaded = load(conf)
    before = load(file).config
    # Those that were taken out on purpose stay recorded too, until they are taken down: forget().
    pools = {**loaded.config.pools, **carried(loaded, before.pools), **removed(loaded, before.pools)}
    _write(file, text(pools, {**before.clusters, **loaded.config.clusters}))


def forget(names: Iterable[str], file: Optional[str] = None) -> None:
    """Drop pools from the record: nothing of them is attached any more."""
    gone = set(names)
    if gone:
        before = load(file or path()).config
        _write(file or path(), text({name: pool for name, pool in before.pools.items() if name not in gone}, before.clusters))


def _write(file: str, content: str) -> None:
    os.makedirs(os.path.dirname(file), mode=0o755, exist_ok=True)
    temporary = f"{file}.{os.urandom(6).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
        os.rename(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def main() -> int:
    """Record what is configured now."""
    try:
        record(path_from_environment(), path())
    except OSError as error:
        print(f"kvmontap: the applied configuration cannot be recorded in {path()}: {error.strerror}; a later mistake in the"
              " configuration would then detach its pools", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
