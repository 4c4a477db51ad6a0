"""The generator as PID 1 runs it: a process of its own, by its installed name, on a read-only host."""

import os
import subprocess
import sys

import pytest

from tests.golden import sandbox
from tests.golden.bundles import CASES, ROOT, case_path, text, tree

CANNOT = sandbox.cannot()
needs_sandbox = pytest.mark.skipif(bool(CANNOT), reason=CANNOT)


def expected(case):
    with open(case_path(case, "expected.txt"), encoding="utf-8") as stream:
        return stream.read()


def conf(case):
    with open(case_path(case, "kvmontap.conf"), "rb") as stream:
        return stream.read()


@needs_sandbox
@pytest.mark.parametrize("case", CASES)
def test_the_real_thing_in_a_read_only_tree(case, tmp_path):
    code, out = sandbox.generate(tmp_path, conf(case), umask="077")
    assert text(*tree(out)) == expected(case)
    assert code == 0


@needs_sandbox
def test_runs_at_once_do_not_harm_each_other(tmp_path):
    code, out = sandbox.generate(tmp_path, conf("spelling") + conf("smb").replace(b"[pools]", b""), times=6)
    assert code == 0
    files, links = tree(out)
    assert len(files) == 10 and len(links) == 10  # whole, and nothing temporary left


@needs_sandbox
def test_no_configuration_no_units(tmp_path):
    code, out = sandbox.generate(tmp_path, None)
    assert code == 0
    assert os.listdir(out) == []


def run(arguments, conf_path="/nonexistent/kvmontap.conf", **more):
    """The generator from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "kvmontap.generator", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "KVMONTAP_CONF": str(conf_path), "KVMONTAP_APPLIED": "/nonexistent", "PYTHONPATH": ROOT}, **more,
    )


@pytest.mark.parametrize("count, code", [(0, 1), (1, 0), (2, 1), (3, 0), (4, 1)])
def test_one_or_three_directories(count, code, tmp_path):
    directories = [tmp_path / str(number) for number in range(count)]
    for directory in directories:
        directory.mkdir()
    done = run(directories, case_path("empty", "kvmontap.conf"))
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_directory_that_cannot_be_written_is_no_traceback(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run([blocked], case_path("design", "kvmontap.conf"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_what_cannot_be_written_does_not_take_the_rest_along(tmp_path):
    (tmp_path / "mnt-sound.mount").mkdir()
    done = run([tmp_path], case_path("broken-sections", "kvmontap.conf"))
    assert done.returncode == 1
    assert (tmp_path / "mnt-last.mount").is_file()
    assert (tmp_path / "remote-fs.target.wants" / "mnt-last.mount").is_symlink()
    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "unreadable"])
def test_a_file_that_is_none_fails_one_unit(kind, tmp_path):
    path, out = tmp_path / "kvmontap.conf", tmp_path / "out"
    out.mkdir()
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/proc/self/mem")
    done = run([out], path, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    _, links = tree(out)
    assert list(links) == (["multi-user.target.wants/kvmontap-config-error@kvmontap.conf.service"] if kind != "fifo" else [])


ALLOWED = {
    # what `python3 -I -c 'import configobj'` loads is free, and so are these
    "typing", "collections.abc", "binascii", "contextlib", "functools", "operator", "_operator", "_functools", "reprlib", "_typing",
    "types", "warnings", "_warnings", "encodings.utf_8_sig",
}


def loaded_modules(code):
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); {code}; print(*sys.modules)"],
        capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"], "KVMONTAP_CONF": case_path("design", "kvmontap.conf")},
    )
    return set(done.stdout.split())


def test_few_modules_are_loaded(tmp_path):
    """Milliseconds differ from machine to machine, imports do not; each of these costs every boot and every daemon-reload."""
    base = loaded_modules("import configobj")
    ours = loaded_modules(f"from kvmontap.generator import main; main(['generator', {str(tmp_path)!r}])")
    extra = {name for name in ours - base if not name.startswith("kvmontap")} - ALLOWED
    assert extra == set()
    own = {name for name in ours if name.startswith("kvmontap.")}
    assert {name for name in own if not name.startswith(("kvmontap.config", "kvmontap.units"))} == {
        "kvmontap.model", "kvmontap.generator", "kvmontap.owner"}
    assert not own & {"kvmontap.config.onhost", "kvmontap.config.secrets"}
