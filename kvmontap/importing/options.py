"""Mount options as fstab and autofs have them, sorted into keys of a section, options that stay, and what has no place.  Pure."""

from typing import Dict, Iterable, List, Optional, Tuple

# What a unit of ours does anyway.
_ALWAYS = ("defaults", "auto", "nofail", "_netdev", "fg", "rw")
_NOT_OURS = {
    "user": "only root mounts a pool", "users": "only root mounts a pool", "owner": "only root mounts a pool",
    "group": "only root mounts a pool", "fail": "a pool that fails never fails the boot",
    "bg": "boot goes on without a pool after [boot] timeout", "x-mount.mkdir": "systemd makes the directory itself",
}
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
          "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "ms": 0.001,
          "msec": 0.001}
_SECRETS = ("password", "pass", "password2", "pass2")


class Sorted:
    """Where each option went."""

    def __init__(self) -> None:
        self.keys: Dict[str, str] = {}
        self.boot: Dict[str, str] = {}
        self.kept: List[str] = []
        self.notes: List[str] = []

    def drop(self, option: str, why: str) -> None:
        self.notes.append(f"{option} is not carried: {why}")


def nfs(options: Iterable[str], fstype: str = "nfs") -> Sorted:
    """Options of nfs(5); ValueError (a clause) for what no pool can be mounted with."""
    made = Sorted()
    version = minor = ""
    port = ""
    for option in _common(options, made):
        head, equals, value = option.partition("=")
        if head in ("vers", "nfsvers"):
            version = value
        elif head in ("v3", "v4", "v4.1", "v4.2", "v4.0", "v2"):
            version = head[1:]
        elif head == "minorversion":
            minor = value
        elif head == "nconnect":
            if value != "1":
                made.keys["nconnect"] = value
        elif head == "sec":
            if value != "sys":
                made.keys["security"] = value
        elif head == "xprtsec":
            if value != "none":
                made.keys["tls"] = value
        elif head in ("proto", "udp", "tcp", "rdma"):
            _transport(value if equals else head, made)
        elif head == "port":
            port = value
        elif head in ("trunkdiscovery", "max_connect"):
            made.keys["trunking"] = "yes"
        elif option == "notrunkdiscovery":
            pass  # what we do unless told otherwise
        elif option == "hard":
            pass  # ours
        else:
            made.kept.append(option)
    if port and not (made.keys.get("transport") == "rdma" and port == "20049"):
        made.kept.append(f"port={port}")
    _version(version, minor, fstype, made)
    return made


def _version(version: str, minor: str, fstype: str, made: Sorted) -> None:
    whole = f"4.{minor}" if minor and version in ("", "4") else version
    if whole in ("2", "4.0"):
        raise ValueError(f"asks for NFS {whole}; a pool needs 3, 4.1 or 4.2")
    if whole in ("3", "4.1", "4.2"):
        if whole != "4.1":
            made.keys["version"] = whole
        return
    if whole not in ("", "4"):
        raise ValueError(f"asks for NFS {whole}, which nobody knows")
    said = "vers=4" if whole or fstype == "nfs4" else "no vers="
    made.notes.append(f"{said} lets client and server choose; this pool has version = 4.1, which every ONTAP offers that we support")


def _transport(name: str, made: Sorted) -> None:
    if name in ("rdma", "rdma6"):
        made.keys["transport"] = "rdma"
    elif name not in ("tcp", "tcp6"):
        raise ValueError(f"asks for {name}; a pool is reached over tcp or rdma")


def smb(options: Iterable[str]) -> Sorted:
    """Options of mount.cifs(8); ValueError for what no pool can be mounted with.  No secret is ever repeated."""
    made = Sorted()
    multichannel, channels = False, ""
    for option in _common(options, made, smb_words=True):
        head, equals, value = option.partition("=")
        if head in ("credentials", "cred"):
            made.keys["credentials"] = value
        elif head in _SECRETS:
            made.notes.append(f"{head}= is not carried, since a secret does not belong here: write it into the credentials file")
        elif head in ("username", "user") and equals:
            made.notes.append(f"{head}={value.partition('%')[0]} is not carried: write username= into the credentials file")
        elif head == "multichannel":
            multichannel = True
        elif head == "max_channels":
            channels = value
        else:
            made.kept.append(option)
    if multichannel:
        made.keys["max-channels"] = channels or "2"  # as the kernel takes it
    elif channels and channels != "1":
        made.drop(f"max_channels={channels}", "without multichannel it means nothing")
    return made


def _common(options: Iterable[str], made: Sorted, smb_words: bool = False) -> List[str]:
    """The options that are the file system's own; those of fstab become keys of [[[boot]]] or notes."""
    rest: List[str] = []
    manual = automount = False
    idle = ""
    for option in options:
        head, equals, value = option.partition("=")
        if option in _ALWAYS:
            continue
        if option == "noauto":
            manual = True
        elif option == "x-systemd.automount":
            automount = True
        elif head == "x-systemd.idle-timeout":
            idle = option
            _seconds(option, value, "idle-timeout", 604800, made)
        elif head == "x-systemd.mount-timeout":
            _seconds(option, value, "timeout", 3600, made)
        elif option in _NOT_OURS or (head in _NOT_OURS and not (smb_words and equals)):
            made.drop(option, _NOT_OURS[head])
        elif head.startswith(("x-", "X-")) or head == "comment":
            made.drop(option, "write a drop-in for the mount unit if it is needed" if head.startswith("x-systemd.") else "nothing reads it")
        else:
            rest.append(option)
    if automount:
        made.boot["mount"] = "automount"
    elif manual:
        made.boot["mount"] = "manual"
    if made.boot.get("mount") != "automount" and made.boot.pop("idle-timeout", None):
        made.drop(idle, "it means something with an automount only")
    return rest


def _seconds(option: str, text: str, key: str, most: float, made: Sorted) -> None:
    span = seconds(text)
    least = 1 if key == "timeout" else 0
    if span is None or not least <= span <= most:
        made.drop(option, f"{key} takes {least} to {most:.0f} seconds")
    else:
        made.boot[key] = f"{span:g}"


def seconds(text: str) -> Optional[float]:
    """A time span of systemd.time(7), "1min 30s" or "90"; None for anything else."""
    total, digits, unit, seen = 0.0, "", "", False
    for char in text.replace(" ", "") + "\0":
        if char.isdigit() or char == ".":
            if unit:
                step = _step(digits, unit)
                if step is None:
                    return None
                total, digits, unit = total + step, "", ""
            digits, seen = digits + char, True
        elif char != "\0":
            unit += char
    step = _step(digits, unit)
    return total + step if seen and step is not None else None


def _step(digits: str, unit: str) -> Optional[float]:
    try:
        return float(digits) * _UNITS[unit]
    except (ValueError, KeyError):
        return None


def split(text: str) -> Tuple[str, ...]:
    """Options with commas between, quotes respected: "a,b=\"x,y\"" -> ("a", 'b="x,y"')."""
    found: List[str] = []
    word, quoted = "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        if char == "," and not quoted:
            found.append(word)
            word = ""
        else:
            word += char
    return tuple(part for part in [*found, word] if part)
