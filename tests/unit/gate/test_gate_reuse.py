"""Starts that an earlier snapshot serves, through the whole pipeline."""

import os
import subprocess

from kvmontap.gate import report
from kvmontap.gate.assemble import pipeline
from kvmontap.gate.configured import configured
from kvmontap.config import parse
from kvmontap.gate.verdict import Event
from kvmontap.snapshots import Reuse
from tests.unit.gate.test_pipeline import host  # noqa: F401


def remembering(host):  # noqa: F811
    host.pipeline.clients.close()
    reuse = Reuse(host.prober.commands)
    host.pipeline = pipeline(lambda: configured(parse(host.text), {}, {}), str(host.tmp_path / "run"), host.prober, reuse=reuse)
    return host


def image(path, form="raw", *more):
    subprocess.run(["qemu-img", "create", "-q", "-f", form, *more, path, "1M"], check=True)
    return path


def test_unchanged_images_need_no_new_snapshot_and_the_journal_says_so(host):  # noqa: F811
    remembering(host)
    one, two = image(f"{host.targets[0]}/a.img"), image(f"{host.targets[0]}/b.img")
    assert host.ask(xml=host.xml(one)).allow
    said = host.ask(xml=host.xml(two, name="vm2"))
    assert said.allow and host.snapshots() == ["start"] and "taken earlier" in said.snapshots[0]
    assert any("taken earlier" in line.message for line in report.lines(Event("vm2", "prepare"), said))
    os.truncate(two, 2 << 20)
    assert "taken earlier" not in host.ask(xml=host.xml(two, name="vm2")).snapshots[0] and host.snapshots() == ["start"] * 2


def test_a_change_beneath_counts(host):  # noqa: F811
    remembering(host)
    base = image(f"{host.targets[0]}/base.img")
    top = image(f"{host.targets[0]}/top.qcow2", "qcow2", "-F", "raw", "-b", base)
    for _ in range(2):
        assert host.ask(xml=host.xml(top, "qcow2")).allow
    assert host.snapshots() == ["start"]
    os.truncate(base, 2 << 20)
    assert host.ask(xml=host.xml(top, "qcow2")).allow and host.snapshots() == ["start"] * 2


def test_what_lies_beneath_is_unknown_where_nobody_looks(host):  # noqa: F811
    host.configure(gate="mode = off")
    remembering(host)
    top = image(f"{host.targets[0]}/top.qcow2", "qcow2")
    for _ in range(2):
        assert host.ask(xml=host.xml(top, "qcow2")).allow
    assert host.snapshots() == ["start"] * 2
