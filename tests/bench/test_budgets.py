"""The budgets that a boot and a VM start pay, as ratios to a peer that runs in turn with ours.

Whole processes, from spawn to exit: a figure is the median of the ratios of neighbouring runs, so that a machine whose
speed drifts moves both.  Python's compiled modules are made first, as the package ships them.
"""

import compileall
import os
import statistics
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
PAIRS = 21
FIVE = os.path.join(ROOT, "tests/unit/config/design.conf")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package with its .pyc, beside nothing else, as a directory for PYTHONPATH."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run(["cp", "-r", os.path.join(ROOT, "kvmontap"), str(place)], check=True)
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(place)], check=True)
    return place


def seconds(command, env=None):
    start = time.perf_counter()
    subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def ratio(ours, peer, env=None):
    """(median of ours/peer pair by pair, smallest, largest)."""
    for command in (ours, peer):
        seconds(command, env)
    found = sorted(seconds(ours, env) / seconds(peer, env) for _ in range(PAIRS))
    return statistics.median(found), found[0], found[-1]


def tell(record_property, what, figures, bound):
    text = f"{figures[0]:.2f} (from {figures[1]:.2f} to {figures[2]:.2f} in {PAIRS} pairs), bound {bound}"
    record_property(what, text)
    print(f"\n{what}: {text}")
    assert figures[0] <= bound, f"{what}: {text}"


def generator(place, directory, conf):
    shim = f"import sys; sys.path.insert(0, {str(place)!r}); from kvmontap.generator import main; sys.exit(main(sys.argv))"
    return [PYTHON, "-I", "-c", shim, str(directory)], {**os.environ, "KVMONTAP_CONF": str(conf)}


def test_the_generator_with_the_five_pools_of_the_design(installed, tmp_path, record_property):
    ours, env = generator(installed, tmp_path, FIVE)
    figures = ratio(ours, [PYTHON, "-I", "-c", "import configobj"], env)
    assert any(name.endswith(".mount") for name in os.listdir(tmp_path))
    tell(record_property, "generator, five pools / import configobj", figures, 2.0)


def test_five_hundred_pools_and_linear(installed, tmp_path, record_property):
    def run(count):
        conf, out = tmp_path / f"{count}.conf", tmp_path / str(count)
        conf.write_text("[pools]\n" + "".join(f"[[p{n}]]\nprotocol = nfs\nserver = 10.1.0.1, 10.2.0.1\nexport = /v{n}\nnconnect = 4\n"
                                              for n in range(count)))
        out.mkdir()
        command, env = generator(installed, out, conf)
        found = min(seconds(command, env) for _ in range(3))
        assert len([name for name in os.listdir(out) if name.endswith(".mount")]) == count
        return found

    small, middle, large = run(5), run(250), run(500)
    record_property("generator, 500 pools", f"{large:.2f} s; 250 pools {middle:.2f} s; 5 pools {small:.3f} s")
    print(f"\ngenerator: 500 pools {large:.2f} s, 250 pools {middle:.2f} s, 5 pools {small:.3f} s")
    assert large <= 1.0
    assert large - small <= 2.6 * (middle - small)


def test_an_operation_that_decides_nothing(record_property):
    figures = ratio(["/bin/sh", os.path.join(ROOT, "hooks/qemu"), "vm", "started", "begin", "-"], [PYTHON, "-I", "-c", "pass"])
    tell(record_property, "hook, nothing to decide / python3 -I -c pass", figures, 0.4)


def test_the_compiled_modules_are_used(installed):
    assert compileall.compile_dir(str(installed), quiet=1), "a module does not compile"
