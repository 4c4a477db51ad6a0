"""Run by test_mountinfo.py in a mount namespace of its own: random mounts, and what the kernel says is where.

argv: a directory to mount in, a seed.  Prints one JSON object per place: the path, what statx(2) says of the mount there
(its id, and whether this is its root), and what mountinfo.covering and mountinfo.at say.
"""

import ctypes
import json
import os
import random
import subprocess
import sys

from kvmontap.host import mountinfo

NAMES = ("a", "b b", "c\\134", "d\n", "é#")


def mount(*arguments):
    subprocess.run(("mount",) + arguments, check=False, stderr=subprocess.DEVNULL)


def places(top):
    return [top] + [os.path.join(top, one) for one in NAMES] + [
        os.path.join(top, one, two) for one in NAMES for two in NAMES
    ]


def statx(path):
    """(mount id, whether the path is the root of its mount), from the kernel."""
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statx(-100, os.fsencode(path), 0, 0x1000, buffer):  # AT_FDCWD, STATX_MNT_ID
        raise OSError(ctypes.get_errno(), path)
    attributes, number = (int.from_bytes(buffer.raw[place : place + 8], "little") for place in (8, 144))
    return number, bool(attributes & 0x2000)  # STATX_ATTR_MOUNT_ROOT


def main(top, seed):
    choice = random.Random(seed)
    for place in places(top):
        os.makedirs(place, exist_ok=True)
    for _ in range(40):
        place = choice.choice(places(top)[1:])
        kind = choice.randrange(10)
        if not os.path.isdir(place):
            continue
        if kind < 5:
            mount("-t", "tmpfs", "test", place)
            for name in choice.sample(NAMES, 3):
                os.makedirs(os.path.join(place, name), exist_ok=True)
        elif kind < 7:
            other = choice.choice(places(top))
            if os.path.isdir(other):
                mount("--bind", other, place)
        elif kind < 9:
            subprocess.run(("umount", "-l", place), check=False, stderr=subprocess.DEVNULL)
        else:
            mount("-o", "remount,bind,ro", place)
    mounts = mountinfo.read()
    for place in places(top):
        if os.path.isdir(place):
            covering = mountinfo.covering(mounts, place)
            print(json.dumps({
                "path": place,
                "kernel": statx(place),
                "ours": [covering.id, mountinfo.at(mounts, place) is not None],
                "read_only": [covering.read_only, bool(os.statvfs(place).f_flag & os.ST_RDONLY)],
            }))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
