"""What each entry point may load, against budgets.ini: an import costs every boot, VM start or command, and nobody sees it in review."""

import ast
import configparser
import os
import re
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
CONF = os.path.join(ROOT, "tests/golden/design/kvmontap.conf")
BUDGETS = configparser.ConfigParser(interpolation=None)
with open(os.path.join(HERE, "budgets.ini"), encoding="utf-8") as stream:
    BUDGETS.read_file(stream)


def loaded(code, cwd="/"):
    """The names of the modules in an interpreter that ran `code`.  Without site (-S): what a machine's sitecustomize or a .pth file
    loads anyway would hide what we add."""
    script = (
        "import os, sys; sys.path[:] = eval(sys.argv[1]); sys.dont_write_bytecode = True; before = os.dup(1); os.dup2(2, 1)\n"
        f"{code}\nos.write(before, ' '.join(sys.modules).encode())"
    )
    path = [ROOT] + [one for one in sys.path if one and os.path.abspath(one) != ROOT]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, repr(path)], cwd=cwd, capture_output=True, text=True, check=False,
                          timeout=60, env={"PATH": os.environ["PATH"], "KVMONTAP_CONF": CONF})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def program(name):
    """The module that runs for `python3 -m NAME`."""
    return f"{name}.__main__" if os.path.exists(os.path.join(ROOT, name.replace(".", "/"), "__main__.py")) else name


def exceeded(name, own, libraries, cwd):
    """(what is loaded beyond the budget, what the budget names in vain), each sorted."""
    got = loaded(f"import {program(name)}\n{BUDGETS[name].get('run', '')}", cwd)
    # What a permitted library loads in turn differs from Python to Python, and is permitted with it.
    free = loaded("".join(f"import {library}\n" for library in {*libraries, *BUDGETS[name].get("late", "").split()})) | {"kvmontap"}
    below = {one: {module for module in got if module == one or module.startswith(f"{one}.")} for one in own}
    return sorted(got - free - set().union(*below.values())), sorted({one for one in own if not below[one]} | (libraries - got))


@pytest.mark.parametrize("name", BUDGETS.sections())
def test_nothing_else_is_loaded(name, tmp_path):
    own, libraries = (set(BUDGETS[name][key].split()) for key in ("own", "libraries"))
    more, vain = exceeded(name, own, libraries, tmp_path)
    assert not more, f"{name} now loads {', '.join(more)}: import it where it is needed, or justify it in tests/unit/imports/budgets.ini"
    assert not vain, f"{name} no longer loads {', '.join(vain)}: take it out of tests/unit/imports/budgets.ini"


def test_one_import_too_many_is_seen(tmp_path):
    own, libraries = (set(BUDGETS["kvmontap.cli.check"][key].split()) for key in ("own", "libraries"))
    more, vain = exceeded("kvmontap.cli.check", own - {"kvmontap.model"}, libraries - {"json"}, tmp_path)
    assert {"json", "kvmontap.model"} <= set(more) and not vain
    assert exceeded("kvmontap.cli.check", own | {"kvmontap.gate"}, libraries | {"csv"}, tmp_path) == ([], ["csv", "kvmontap.gate"])


def entry_points():
    """Every module of ours that a unit, a hook, a script or the command line starts."""
    for directory in ("units", "hooks", "generators", "packaging/bin"):
        for base, _, names in os.walk(os.path.join(ROOT, directory)):
            for name in names:
                with open(os.path.join(base, name), encoding="utf-8") as stream:
                    text = stream.read()
                yield from re.findall(r"python3 -I -m (kvmontap[\w.]*)", text)
                yield from re.findall(r"from (kvmontap[\w.]*) import main", text)
    for name in os.listdir(os.path.join(ROOT, "kvmontap/cli")):
        if name.endswith(".py"):
            with open(os.path.join(ROOT, "kvmontap/cli", name), encoding="utf-8") as stream:
                body = ast.parse(stream.read()).body
            if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in body):
                yield f"kvmontap.cli.{name[:-3]}"


def test_every_entry_point_has_a_budget():
    # `python3 -m kvmontap` is kvmontap.cli, and what a command adds is in the command's own section.
    found = {"kvmontap.cli" if name == "kvmontap" else name for name in entry_points()}
    assert len(found) > 8 and found == set(BUDGETS.sections())
