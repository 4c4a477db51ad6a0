"""The backing chain of a disk image whose domain XML does not tell it (it never does at `prepare`).

`qemu-img info -U` is asked image by image and not with --backing-chain: without that it reads the one header and
does not open what the header names.  So an image beneath that lies on dead storage is known by name before anything
touches it, and the caller decides (`may_open`) whether to go on.  Each question runs under kvmontap.command's rules.

Only formats that can have a backing image are asked, with the format that the XML or the image above names and no
guessing: the guest of a raw disk can write a header of its choice at its start.  An image beneath whose format nobody
names ends the chain, as it does for libvirt.
"""

import json
import os
import re
from typing import Any, Callable, Dict, Hashable, List, NamedTuple, Optional, Tuple

from kvmontap import command
from kvmontap.model import Source

QEMU_IMG = "/usr/bin/qemu-img"
FORMATS = ("qcow2", "qed", "qcow", "vmdk")  # those that QEMU reads a backing image from
DEEPEST = 200  # libvirt's own limit
_MEMORY = 1024 * 1024 * 1024  # bytes of address space: crafted images have made qemu-img take all there is


class Chain(NamedTuple):
    """What lies beneath an image."""

    sources: Tuple[Source, ...]  # from the top down, data files included
    unknown: str = ""  # why it is not known further, one clause; "" = this is all of it


def wanted(source: Source) -> bool:
    """Whether the XML leaves open what lies beneath the source."""
    return source.kind in ("file", "block", "volume") and source.format in FORMATS and not source.chained


def backing(
    path: str,
    deadline: float,
    form: str = "qcow2",
    what: str = "image",
    commands: Optional[command.Commands] = None,
    key: Callable[[str], Hashable] = os.path.dirname,
    may_open: Callable[[str], bool] = lambda path: True,
) -> Chain:
    """Every image beneath the one at `path` (absolute), by `deadline` (time.monotonic()).

    `what` says what the image is for ("disk vda"); `key(path)` names what an image's storage hangs with: one
    question for it is under way at a time; `may_open(path)` is asked before an image beneath is opened.
    """
    own = commands if commands is not None else command.Commands()
    found: List[Source] = []
    seen = {path}
    unknown = ""
    try:
        while form in FORMATS:
            if len(seen) > DEEPEST:
                unknown = f"it is more than {DEEPEST} images deep"
                break
            info, unknown = _ask(path, form, deadline, own, key(path))
            if info is None:
                break
            below, data = _beneath(info, path, what)
            found.extend(data)
            if below is None:
                break
            found.append(below)
            path, form = below.path, below.format
            if below.kind not in ("file", "block"):
                break
            if path in seen:
                unknown = f"it runs in a circle at {_printable(path)}"
                break
            seen.add(path)
            if form in FORMATS and not may_open(path):
                unknown = f"{_printable(path)} was not opened"
                break
    finally:
        if commands is None:
            own.close()
    return Chain(tuple(found), unknown)


def _ask(
    path: str, form: str, deadline: float, commands: command.Commands, key: Hashable
) -> Tuple[Optional[Dict[str, Any]], str]:
    """What qemu-img tells of one image, or why it does not."""
    argv = (QEMU_IMG, "info", "-U", "--output=json", "-f", form, "--", path)
    answer = commands.run(("image", key), argv, deadline, memory=_MEMORY)
    shown = _printable(path)
    if answer.state == command.HANGS:
        return None, f"{shown} does not answer (asked for {answer.seconds:.1f} s)"
    if answer.state == command.BROKEN:
        return None, f"{QEMU_IMG} cannot be run: {answer.error}"
    if answer.status:
        said = answer.error.strip().split("\n")[-1].partition("qemu-img: ")[2]
        return None, _printable(said) or f"qemu-img ended with status {answer.status} for {shown}"
    try:
        info = json.loads(answer.output)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        return None, f"qemu-img gave no usable answer for {shown}"
    return info, ""


def _beneath(info: Dict[str, Any], path: str, what: str) -> Tuple[Optional[Source], Tuple[Source, ...]]:
    """The image right beneath, None where there is none, and the data files, from one `qemu-img info`."""
    below: Optional[Source] = None
    # The full name is the one that QEMU made absolute from the image's own place.
    name = _string(info, "full-backing-filename") or _string(info, "backing-filename")
    if name:
        below = named(name, path, f"backing of {what}", _string(info, "backing-filename-format"))
    specific = info.get("format-specific")
    details = specific.get("data") if isinstance(specific, dict) else None
    names = [_string(details, "data-file")] if isinstance(details, dict) else []
    extents = details.get("extents") if isinstance(details, dict) else None
    if isinstance(extents, list):
        names.extend(_string(extent, "filename") for extent in extents if isinstance(extent, dict))
    data = (named(one, path, f"data file of {what}", "raw") for one in names if one and one != path)
    return below, tuple(data)


def named(name: str, image: str, what: str, form: str = "") -> Source:
    """The storage that QEMU means by a file name written in the image at `image`.  Pure.

    A path relative to the image's directory, "file:PATH", "nbd://HOST/..." and the like, or "json:{...}".
    """
    if name.startswith("json:"):
        return _from_json(name[5:], image, what, form)
    protocol, colon, rest = name.partition(":")
    if not colon or "/" in protocol:
        return Source("file", what, path=_absolute(name, image), format=form)
    if protocol in ("file", "host_device", "host_cdrom"):
        kind = "file" if protocol == "file" else "block"
        return Source(kind, what, path=_absolute(rest, image), format=form)
    # What stands before an @ may be a password.
    url = re.match(r"//(?:[^/@]*@)?(\[[^\]]*\]|[^/:?#]*)[^/?#]*/?([^?#]*)", rest)
    hosts = (url.group(1),) if url and url.group(1) else ()
    return Source(
        "network", what, protocol=_printable(protocol), name=url.group(2) if url else "", hosts=hosts, format=form
    )


def _from_json(text: str, image: str, what: str, form: str) -> Source:
    """QEMU's block options, nested or with dots in the keys, down to the protocol layer."""
    try:
        node = json.loads(text)
    except (ValueError, RecursionError):
        node = None
    flat: Dict[str, str] = {}
    _flatten(node, "", flat, 0)
    layers = sorted((key.count("."), key) for key in flat if key == "driver" or key.endswith(".driver"))
    chain = [key for _, key in layers if set(key.split(".")) <= {"file", "driver"}]
    driver = flat.get(chain[-1], "") if chain else ""
    if form == "" and len(chain) > 1:
        form = flat[chain[0]]
    paths = [value for key, value in flat.items() if set(key.split(".")) <= {"file", "filename"}]
    if driver in ("file", "host_device", "host_cdrom", "") and paths:
        kind = "block" if driver.startswith("host_") else "file"
        return Source(kind, what, path=_absolute(paths[0], image), format=form)
    hosts = tuple(value for key, value in flat.items() if key.split(".")[-1] in ("host", "portal"))
    return Source("network" if driver else "other", what, protocol=_printable(driver), hosts=hosts, format=form)


def _flatten(node: Any, prefix: str, flat: Dict[str, str], depth: int) -> None:
    if depth > 32:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            _flatten(value, f"{prefix}.{key}" if prefix else key, flat, depth + 1)
    elif isinstance(node, list):
        for place, value in enumerate(node):
            _flatten(value, f"{prefix}.{place}" if prefix else str(place), flat, depth + 1)
    elif isinstance(node, str):
        flat[prefix] = node


def _absolute(path: str, image: str) -> str:
    return os.path.join(os.path.dirname(image), path)


def _string(node: Any, key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])
