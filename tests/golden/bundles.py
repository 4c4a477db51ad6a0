"""Bundles as texts: `== path` with the file's body, `link -> target`; and the cases."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = sorted(name for name in os.listdir(HERE) if os.path.exists(os.path.join(HERE, name, "kvmontap.conf")))


def case_path(case, name):
    return os.path.join(HERE, case, name)


def text(files, links):
    """One readable text of a bundle."""
    parts = [f"== {path}\n{body}" for path, body in sorted(files.items())]
    return "\n".join(parts + ["".join(f"{path} -> {target}\n" for path, target in sorted(links.items()))])


def tree(directory):
    """(files, links) of what a generator wrote; fails for anything else than files, links and directories of the right modes."""
    files, links = {}, {}
    for base, directories, names in os.walk(directory):
        for name in directories:
            mode = os.stat(os.path.join(base, name)).st_mode & 0o7777
            assert mode == 0o755, f"{base}/{name} has mode {mode:o}"
        for name in names:
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            if os.path.islink(path):
                links[relative] = os.readlink(path)
                continue
            mode = os.stat(path).st_mode & 0o7777
            assert mode == 0o644, f"{path} has mode {mode:o}"
            with open(path, encoding="utf-8", newline="") as stream:
                files[relative] = stream.read()
    return files, links
