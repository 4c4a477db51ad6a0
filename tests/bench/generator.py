"""What the generator costs a boot, beside Python with configobj and beside systemd's own generator for fstab.

It writes into memory, as at a boot, and waits for nothing: its processor time is what PID 1 waits for on a machine with one processor to
spare, and does not depend on what else runs here.
"""

import os
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

from tests.bench.measure import PAIRS, PYTHON, ROOT, Figure, cpu_seconds, figure, in_package, in_turn, seconds

FIVE = os.path.join(ROOT, "tests/unit/config/design.conf")
FSTAB_GENERATOR = "/usr/lib/systemd/system-generators/systemd-fstab-generator"
MEMORY = "/dev/shm"
POOL = "[[p{0}]]\nprotocol = nfs\nserver = 10.1.0.1, 10.2.0.1\nexport = /v{0}\nnconnect = 4\n"


def command(package: str, conf: str, out: Path) -> Tuple[List[str], Dict[str, str]]:
    """The generator with the configuration `conf`, writing below `out`: (command, environment)."""
    out.mkdir()
    return in_package(package, "kvmontap.generator", str(out)), {**os.environ, "KVMONTAP_CONF": conf}


def mounts(out: Path) -> List[Path]:
    return sorted(out.glob("*.mount"))


def five_pools(package: str, work: Path) -> List[Figure]:
    """With all five kinds of the design's example, and systemd's generator with the same mounts in fstab."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        return _five_pools(package, Path(memory))


def _five_pools(package: str, work: Path) -> List[Figure]:
    ours, env = command(package, FIVE, work / "five")
    bare = [PYTHON, "-I", "-c", "import configobj"]
    against = in_turn(lambda: cpu_seconds(ours, env), lambda: cpu_seconds(bare))
    made = mounts(work / "five")
    assert len(made) == 5, made
    fstab = work / "fstab"
    fstab.write_text("".join(_fstab_line(unit) for unit in made))
    env.update(SYSTEMD_FSTAB=str(fstab), SYSTEMD_SYSFS_CHECK="no", SYSTEMD_PROC_CMDLINE="", SYSTEMD_LOG_TARGET="null")

    def theirs() -> float:
        out = Path(tempfile.mkdtemp(dir=work))  # it does not write into a directory twice
        spent = cpu_seconds([FSTAB_GENERATOR, str(out)], env)
        assert {unit.name for unit in mounts(out)} == {unit.name for unit in made}
        return spent

    ratios = in_turn(lambda: cpu_seconds(ours, env), theirs)
    wall = [seconds(ours, env) * 1000 for _ in range(PAIRS)]
    return [
        figure("generator, five pools / import configobj", against, "x", 2.0),
        figure("generator, five pools / systemd-fstab-generator, the same mounts", ratios, "x"),
        figure("generator, five pools, as time passes here", wall, "ms"),
    ]


def _fstab_line(unit: Path) -> str:
    keys = dict(line.split("=", 1) for line in unit.read_text().splitlines() if line.startswith(("What=", "Where=", "Type=", "Options=")))
    return " ".join([keys["What"], keys["Where"], keys["Type"], keys.get("Options", "defaults"), "0 0\n"])


def five_hundred_pools(package: str, work: Path) -> List[Figure]:
    """At most a second, and linear: the second half of 500 pools costs what the first half does."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        return _five_hundred_pools(package, Path(memory))


def _five_hundred_pools(package: str, work: Path) -> List[Figure]:
    def lines(count: int) -> Tuple[List[str], Dict[str, str]]:
        conf, out = work / f"{count}.conf", work / f"of-{count}"
        conf.write_text("[pools]\n" + "".join(POOL.format(number) for number in range(count)))
        found = command(package, str(conf), out)
        seconds(*found)
        assert len(mounts(out)) == count
        return found

    large = lines(500)
    spent = [cpu_seconds(*large) for _ in range(5)]
    five, half, all_of_them = (min(cpu_seconds(*line) for _ in range(5)) for line in (lines(5), lines(250), large))
    return [
        figure("generator, 500 pools", spent, "s", 1.0),
        figure("generator, pools 251 to 500 / pools 6 to 250", [(all_of_them - half) / (half - five)], "x", 1.6),
    ]
