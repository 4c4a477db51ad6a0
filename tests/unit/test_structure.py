"""The house rules that a program can check: who imports what, how long things are, which Python they need."""

import ast
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = sorted(os.path.relpath(os.path.join(base, name), ROOT)
                 for base, _, names in os.walk(os.path.join(ROOT, "kvmontap")) for name in names if name.endswith(".py"))
EDGES = ("netapp_ontap", "libvirt", "systemd", "pyudev")


def tree(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        return ast.parse(stream.read(), path, feature_version=(3, 9))


def imported(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_imports_point_one_way():
    command = [os.path.join(os.path.dirname(sys.executable), "lint-imports"), "--config", "setup.cfg", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": ROOT})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", EDGES)
def test_each_foreign_library_has_one_importer(package):
    users = [path for path in SOURCES if any(name.split(".")[0] == package for name in imported(path))]
    assert len(users) <= 1, users


@pytest.mark.parametrize("path", SOURCES)
def test_modules_and_functions_stay_readable(path):
    module = tree(path)
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        count = sum(1 for _ in stream)
    assert count <= 450, f"{path} has {count} lines: give its contents rooms"
    assert ast.get_docstring(module), f"{path} does not say what it is for"
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES)
def test_nothing_needs_a_python_newer_than_3_9(path):
    """What the parser of 3.9 takes but 3.9 cannot run: X | Y at runtime, zip(strict=), dataclass slots."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            keywords = {keyword.arg for keyword in node.keywords}
            assert not (getattr(node.func, "id", "") == "zip" and "strict" in keywords), f"{path}:{node.lineno}"
        for annotation in filter(None, (getattr(node, "annotation", None), getattr(node, "returns", None))):
            unions = [one for one in ast.walk(annotation) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.BitOr)]
            assert not unions, f"{path}:{annotation.lineno}: write Optional or Union"


def test_ruff_finds_nothing():
    command = [os.path.join(os.path.dirname(sys.executable), "ruff"), "check", "--no-cache", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
