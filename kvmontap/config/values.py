"""From the text of one value to what it means; a ValueError's text is the reason, one clause.

Every function takes the key's row of the table and the value as ConfigObj gives it: a string, or a list of strings where
the value had commas.  On the boot path: no regular expressions, since compiling a dozen of them takes longer than reading
a configuration.
"""

from typing import Callable, Dict, List, Tuple, Union

from kvmontap.config.table import Key

Raw = Union[str, List[str]]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_SPACES = "\u00a0\u202f\u3000"  # printable for everybody but Python
_POWERS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZES = {"": 1, "%": 1, "B": 1, **{letter + tail: size for letter, size in _POWERS.items() for tail in ("", "B", "iB")}}
_SPANS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
# A mount on one of these would hide the running system.
_OWN = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys",
        "/tmp", "/usr", "/var", "/var/lib", "/var/lib/libvirt", "/mnt", "/media", "/etc/libvirt")


def convert(key: Key, raw: Raw) -> object:
    """The typed value of `raw` for `key`; raises ValueError with the reason."""
    for part in raw if isinstance(raw, list) else (raw,):
        if not isinstance(part, str):
            raise ValueError("is a section, not a value; write it as KEY = VALUE")
        refuse_control(part)
    return KINDS[key.kind](key, raw)


def refuse_control(text: str) -> None:
    """ValueError for text that no value may have: control characters, line ends, bytes that are not UTF-8."""
    if text.isprintable():
        return
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("is not UTF-8 text; save the file as UTF-8")
    if not all(char.isprintable() or char in _SPACES for char in text):
        raise ValueError("has a control character or a line break in it; write it on one line")


def _one(raw: Raw) -> str:
    if isinstance(raw, list):
        raise ValueError("takes one value; put it in quotes if it has a comma")
    return raw.strip()


def _made_of(text: str, alphabet: str, longest: int) -> bool:
    """Whether `text` is 1 to `longest` characters of `alphabet`."""
    return 0 < len(text) <= longest and all(char in alphabet for char in text)


def _spaced(text: str) -> bool:
    return any(char.isspace() for char in text)


def _measure(text: str, units: Dict[str, float]) -> Tuple[float, str]:
    """A decimal number and its unit; ValueError (without a reason) for anything else."""
    digits = text.rstrip(_LETTERS + "% ")
    unit = text[len(digits) :].strip()
    whole, point, part = digits.partition(".")
    if unit not in units or not _made_of(whole, _DIGITS, 15) or (point and not _made_of(part, _DIGITS, 6)):
        raise ValueError
    return float(digits), unit


def _many(raw: Raw) -> Tuple[str, ...]:
    items = tuple(item.strip() for item in (raw if isinstance(raw, list) else [raw]))
    return tuple(item for item in items if item)


def choice(key: Key, raw: Raw) -> str:
    value = _one(raw)
    if value not in key.choices:
        raise ValueError(f"is {value!r}, must be one of: {', '.join(key.choices)}")
    return value


def flag(_key: Key, raw: Raw) -> bool:
    value = _one(raw).lower()
    if value in ("yes", "true", "on", "1"):
        return True
    if value in ("no", "false", "off", "0"):
        return False
    raise ValueError(f"is {value!r}, must be yes or no")


def _bounded(key: Key, number: float, text: str) -> float:
    if number < key.low or (key.high and number > key.high):
        raise ValueError(f"is {text}, must be from {key.low:g} to {key.high:g}" if key.high else f"is {text}, must be {key.low:g} or more")
    return number


def integer(key: Key, raw: Raw) -> int:
    value = _one(raw)
    if not _made_of(value[1:] if value[:1] in ("+", "-") else value, _DIGITS, 12):
        raise ValueError(f"is {value!r}, must be a whole number")
    return int(_bounded(key, int(value), value))


def seconds(key: Key, raw: Raw) -> float:
    value = _one(raw)
    try:
        number, unit = _measure(value, _SPANS)
    except ValueError:
        raise ValueError(f"is {value!r}, must be seconds, such as 90, or a number with s, min, h or d") from None
    return _bounded(key, number * _SPANS[unit], value)


def amount(_key: Key, raw: Raw) -> Tuple[float, str]:
    value = _one(raw)
    try:
        number, unit = _measure(value, _SIZES)
    except ValueError:
        raise ValueError(f"is {value!r}, must be a share such as 5% or a size such as 20G") from None
    if unit != "%":
        return (number * _SIZES[unit], "B")
    if number >= 100:
        raise ValueError(f"is {value}, must be below 100%")
    return (number, "%")


def word(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if _spaced(value):
        raise ValueError(f"is {value!r}, must not have a space in it")
    return value


def name(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if value and (len(value) > 128 or not (value[0].isalnum() or value[0] == "_")
                  or not all(char.isalnum() or char in "_-+." for char in value)):
        raise ValueError(f"is {value!r}, must be letters, digits, '_', '-', '+' and '.', at most 128")
    return value


def words(_key: Key, raw: Raw) -> Tuple[str, ...]:
    values = _many(raw)
    for value in values:
        if _spaced(value):
            raise ValueError(f"has {value!r}; put commas between the values")
    return values


def address(text: str) -> str:
    """A host name, an IPv4 address or an IPv6 address (without brackets), in the form used everywhere; ValueError else."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        return _ipv6(bare)
    parts = bare.split(".")
    if not bare.strip(_DIGITS + "."):
        if len(parts) != 4 or not all(_made_of(part, _DIGITS, 3) and int(part) < 256 for part in parts):
            raise ValueError(f"has {text!r}, which is no IPv4 address")
        return bare
    labels = parts[:-1] if len(parts) > 1 and not parts[-1] else parts  # a name may end in a dot
    if bare != text or len(bare) > 253 or not all(_label(one) for one in labels):
        raise ValueError(f"has {text!r}, which is no host name or address")
    return bare


def _label(text: str) -> bool:
    return _made_of(text, _LETTERS + _DIGITS + "-_", 63) and text[0] != "-" and text[-1] != "-"


def _ipv6(text: str) -> str:
    from socket import AF_INET6, inet_pton  # late: most hosts have no IPv6 portal, and `socket` is dear

    bare, percent, zone = text.partition("%")
    try:
        inet_pton(AF_INET6, bare)
    except (OSError, UnicodeError):
        raise ValueError(f"has {text!r}, which is no IPv6 address") from None
    if percent and not _made_of(zone, _LETTERS + _DIGITS + "_.-", 15):
        raise ValueError(f"has {text!r}, whose interface after '%' is not a name")
    return text


def hosts(_key: Key, raw: Raw) -> Tuple[str, ...]:
    values = tuple(address(value) for value in _many(raw))
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"has {value} twice")
    return values


def endpoint(text: str) -> str:
    """host, host:port, IPv6 or [IPv6]:port, checked; IPv6 comes back in brackets."""
    before, colon, port = text.rpartition(":")
    if not colon or (":" in before and not before.startswith("[")) or text.endswith("]"):
        before, port = text, ""
    elif not port:
        raise ValueError(f"has {text!r}, whose port is missing")
    host = address(before)
    if port and not (_made_of(port, _DIGITS, 5) and 0 < int(port) < 65536):
        raise ValueError(f"has {text!r}, whose port is not from 1 to 65535")
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def management(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if "://" in value:
        raise ValueError(f"is {value!r}, must be host or host:port, without https://")
    return endpoint(value) if value else ""


def portals(_key: Key, raw: Raw) -> Tuple[str, ...]:
    return tuple(endpoint(value) for value in _many(raw))


def path(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if value and not value.startswith("/"):
        raise ValueError(f"is {value!r}, must be an absolute path")
    if ".." in value.split("/"):
        raise ValueError(f"is {value!r}, must not have '..' in it")
    return value


def optionpath(key: Key, raw: Raw) -> str:
    """A path that stands inside a mount option, where a comma would begin another option."""
    value = path(key, raw)
    if "," in value or _spaced(value):
        raise ValueError(f"is {value!r}, must have no comma and no space in it, since it becomes a mount option")
    return value


def secret(key: Key, raw: Raw) -> str:
    value = _one(raw)
    return name(key, value) if value and "/" not in value else path(key, value)


def target(key: Key, raw: Raw) -> str:
    if isinstance(raw, list):
        raise ValueError("takes one path; put it in quotes if it has a comma")
    value = path(key, raw)
    if not value:
        return ""
    value = "/" + "/".join(part for part in value.split("/") if part not in ("", "."))
    if value in _OWN or value.startswith(("/proc/", "/sys/", "/dev/", "/boot/")):
        raise ValueError(f"is {value!r}, which belongs to the system; choose a directory of its own, such as /mnt/NAME")
    if len(value.encode()) > 1024:
        raise ValueError("is longer than 1024 bytes")
    return value


def export(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if not value.startswith("/"):
        raise ValueError(f"is {value!r}, must be the volume's junction path, such as /kvmnfs01")
    if ".." in value.split("/"):
        raise ValueError(f"is {value!r}, must not have '..' in it")
    return "/" + "/".join(part for part in value.split("/") if part)


def share(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if not value or any(char in '\\/:*?"<>|,' for char in value) or value in (".", ".."):
        raise ValueError(f"is {value!r}, must be the name of a share without slashes and commas")
    return value


def wwid(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if value and not (len(value) > 7 and _made_of(value, _LETTERS + _DIGITS + "._-", 128)):
        raise ValueError(f"is {value!r}, must be a WWID as multipath -ll shows it")
    if not _made_of(value.lower(), "0123456789abcdef", 128):
        for prefix in ("naa.", "0x"):
            if value.lower().startswith(prefix):
                raise ValueError(f"is {value!r}, must be a WWID as multipath -ll shows it: 3{value[len(prefix):].lower()}")
        return value
    if len(value) == 32 and value.startswith("6"):
        raise ValueError(f"is {value!r}, must be a WWID as multipath -ll shows it: 3{value.lower()}")
    return value.lower()  # as udev names its links


def uuid(_key: Key, raw: Raw) -> str:
    value = _one(raw).lower()
    if value and ([len(part) for part in value.split("-")] != [8, 4, 4, 4, 12]
                  or not _made_of(value.replace("-", ""), "0123456789abcdef", 32)):
        raise ValueError(f"is {value!r}, must be a UUID as nvme list shows it")
    return value


# What a unit or a key of ours already says, so that two voices never disagree.
_FSTAB_WORDS = ("auto", "noauto", "nofail", "fail", "_netdev", "defaults", "user", "users", "owner", "group", "bg", "fg")


def options(_key: Key, raw: Raw) -> str:
    """Mount options as typed; words that only fstab understands are refused, since they would be ignored in silence."""
    typed = raw if isinstance(raw, list) else raw.split(",")
    words_ = [part.strip() for part in typed if part.strip()]
    for option in words_:
        head = option.partition("=")[0]
        if _spaced(option):
            raise ValueError(f"has {option!r}; put commas between the options")
        if head.startswith("x-systemd.") or head in _FSTAB_WORDS:
            raise ValueError(f"has {option!r}, which only means something in fstab; use [boot] for how a pool is brought up")
        if head in ("password", "pass", "password2", "pass2"):
            raise ValueError(f"has {head}=; a secret belongs in the credentials file")
    return ",".join(words_)


def occasions(_key: Key, raw: Raw) -> Tuple[str, ...]:
    values = _many(raw)
    if values in ((), ("none",)):
        return ()
    for value in values:
        if value not in ("start", "migrate"):
            raise ValueError(f"has {value!r}, must be start, migrate or none")
    return tuple(sorted(set(values), reverse=True))


def label(_key: Key, raw: Raw) -> str:
    value = _one(raw)
    if value and not _made_of(value, _LETTERS + _DIGITS + "_-", 31):
        raise ValueError(f"is {value!r}, must be 1 to 31 letters, digits, '_' and '-'")
    return value


KINDS: Dict[str, Callable[[Key, Raw], object]] = {
    function.__name__: function
    for function in (choice, flag, integer, seconds, amount, word, name, words, hosts, management, portals, path, optionpath, secret,
                     target, export, share, wwid, uuid, options, occasions, label)
}
