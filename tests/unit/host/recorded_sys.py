"""Recorded /sys trees: lines "path = content" for files and "path -> target" for symbolic links."""

import os


def plant(recording, root):
    """Make the recorded files and links below `root`."""
    with open(recording, encoding="utf-8") as stream:
        for line in stream:
            path, arrow, target = line.rstrip("\n").partition(" -> ")
            if arrow:
                where = os.path.join(root, path)
                os.makedirs(os.path.dirname(where), exist_ok=True)
                os.makedirs(os.path.normpath(os.path.join(os.path.dirname(where), target)), exist_ok=True)
                if not os.path.lexists(where):
                    os.symlink(target, where)
                continue
            path, equals, content = line.rstrip("\n").partition(" =")
            if equals:
                where = os.path.join(root, path)
                os.makedirs(os.path.dirname(where), exist_ok=True)
                with open(where, "w", encoding="utf-8") as file:
                    file.write(content[1:] + "\n")
