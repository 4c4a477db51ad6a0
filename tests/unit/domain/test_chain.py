"""kvmontap.domain.chain against the real qemu-img and real images."""

import json
import os
import stat
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap import command
from kvmontap.domain import chain
from kvmontap.model import Source

pytestmark = pytest.mark.skipif(not os.path.exists(chain.QEMU_IMG), reason="qemu-img is not installed (qemu-utils)")


def make(folder, *arguments):
    subprocess.run([chain.QEMU_IMG, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def ask(path, **more):
    return chain.backing(str(path), time.monotonic() + 20, what="disk vda", **more)


def test_a_chain_of_relative_and_absolute_names_is_followed_to_its_end(tmp_path):
    (tmp_path / "sub").mkdir()
    make(tmp_path, "create", "-f", "raw", "base.raw", "1M")
    make(tmp_path, "create", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "sub/middle.qcow2")
    make(tmp_path, "create", "-f", "qcow2", "-b", f"{tmp_path}/sub/middle.qcow2", "-F", "qcow2", "top.qcow2")
    found = ask(tmp_path / "top.qcow2")
    assert found.unknown == ""
    assert found.sources == (
        Source("file", "backing of disk vda", path=f"{tmp_path}/sub/middle.qcow2", format="qcow2"),
        Source("file", "backing of disk vda", path=f"{tmp_path}/sub/../base.raw", format="raw"),
    )


def test_an_image_without_a_backing_image_has_none(tmp_path):
    make(tmp_path, "create", "-f", "qcow2", "alone.qcow2", "1M")
    assert ask(tmp_path / "alone.qcow2") == chain.Chain(())


def test_a_data_file_is_found(tmp_path):
    make(tmp_path, "create", "-f", "qcow2", "-o", "data_file=vm.data", "vm.qcow2", "1M")
    assert [one.path for one in ask(tmp_path / "vm.qcow2").sources] == [f"{tmp_path}/vm.data"]


def test_an_image_beneath_is_named_before_anything_opens_it(tmp_path):
    """It may lie on storage that hangs: opening a pipe for reading does, too, so a hang would show here."""
    os.mkfifo(tmp_path / "dead.qcow2")
    make(tmp_path, "create", "-f", "qcow2", "-u", "-b", "dead.qcow2", "-F", "qcow2", "top.qcow2", "1M")
    asked = []
    found = ask(tmp_path / "top.qcow2", may_open=lambda path: asked.append(path))
    assert asked == [f"{tmp_path}/dead.qcow2"]
    assert [one.path for one in found.sources] == asked
    assert found.unknown == f"{tmp_path}/dead.qcow2 was not opened"


def test_what_hangs_is_given_up_at_the_deadline_and_at_most_one_is_left(tmp_path):
    """A pipe without a writer stands for an image on dead storage: qemu-img blocks in open."""
    os.mkfifo(tmp_path / "top.qcow2")
    commands = command.Commands(linger=600)
    try:
        for _ in range(3):
            started = time.monotonic()
            found = chain.backing(str(tmp_path / "top.qcow2"), started + 0.3, commands=commands, key=lambda path: "mount")
            assert 0.2 < time.monotonic() - started < 3
            assert "does not answer (asked for " in found.unknown and not found.sources
            assert len(commands.in_flight()) == 1
        # Another image of the same mount waits its turn: no second process.
        other = chain.backing(str(tmp_path / "x"), time.monotonic() + 0.1, commands=commands, key=lambda path: "mount")
        assert "does not answer" in other.unknown and len(commands.in_flight()) == 1
    finally:
        commands.close()


def test_the_memory_of_qemu_img_is_bounded(tmp_path):
    os.mkfifo(tmp_path / "top.qcow2")
    commands = command.Commands(linger=600)
    try:
        chain.backing(str(tmp_path / "top.qcow2"), time.monotonic() + 0.3, commands=commands)
        (pid,) = commands.in_flight()
        with open(f"/proc/{pid}/limits", encoding="ascii") as stream:
            limit = next(line for line in stream if line.startswith("Max address space"))
        assert limit.split()[3] == str(1024**3)
    finally:
        commands.close()


def test_a_raw_image_is_never_asked_for_its_header(tmp_path):
    make(tmp_path, "create", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", "guest-wrote-this.raw", "1M")
    assert ask(tmp_path / "guest-wrote-this.raw", form="raw") == chain.Chain(())
    assert not chain.wanted(Source("file", "disk vda", path="/x", format="raw"))
    assert not chain.wanted(Source("file", "disk vda", path="/x"))
    assert not chain.wanted(Source("file", "disk vda", path="/x", format="qcow2", chained=True))
    assert chain.wanted(Source("file", "disk vda", path="/x", format="qcow2"))


@pytest.mark.parametrize(
    "content, said",
    [(None, "No such file or directory"), (b"", "not in qcow2 format"), (b"QFI\xfb" + bytes(2000), "Unsupported qcow2 version 0")],
)
def test_an_image_that_cannot_be_read_is_told_as_unknown(tmp_path, content, said):
    if content is not None:
        (tmp_path / "x.qcow2").write_bytes(content)
    found = ask(tmp_path / "x.qcow2")
    assert said in found.unknown and found.unknown.isprintable() and not found.sources


def test_a_circle_is_told(tmp_path):
    make(tmp_path, "create", "-f", "qcow2", "-u", "-b", f"{tmp_path}/b", "-F", "qcow2", "a", "1M")
    make(tmp_path, "create", "-f", "qcow2", "-u", "-b", f"{tmp_path}/a", "-F", "qcow2", "b", "1M")
    found = ask(tmp_path / "a")
    assert "runs in a circle" in found.unknown and len(found.sources) == 2


def test_without_qemu_img_it_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "QEMU_IMG", str(tmp_path / "absent"))
    assert ask("/x").unknown.endswith("absent cannot be run: No such file or directory")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("base.img", Source("file", "w", path="/d/base.img")),
        ("/abs/a:b.img", Source("file", "w", path="/abs/a:b.img")),
        ("./a:b", Source("file", "w", path="/d/./a:b")),
        ("file:rel", Source("file", "w", path="/d/rel")),
        ("host_device:/dev/vg/x", Source("block", "w", path="/dev/vg/x")),
        ("nbd://user:hush@h.example.com:10809/e?tls=hush", Source("network", "w", protocol="nbd", name="e", hosts=("h.example.com",))),
        ("nfs://[fd00::1]/exp/x", Source("network", "w", protocol="nfs", name="exp/x", hosts=("[fd00::1]",))),
        ("rbd:pool/image:key=hush", Source("network", "w", protocol="rbd")),
        ('json:{"driver":"qcow2","file":{"driver":"file","filename":"/j/x"}}', Source("file", "w", path="/j/x", format="qcow2")),
        ('json:{"driver":"qcow2","file.driver":"host_device","file.filename":"/dev/y"}',
         Source("block", "w", path="/dev/y", format="qcow2")),
        ('json:{"file":{"driver":"nbd","server":{"host":"h","port":"1"},"tls-creds":"hush"}}',
         Source("network", "w", protocol="nbd", hosts=("h",))),
        ("json:{broken", Source("other", "w")),
    ],
)
def test_the_names_that_an_image_can_hold(name, expected):
    assert chain.named(name, "/d/top.qcow2", "w") == expected
    assert "hush" not in repr(chain.named(name, "/d/top.qcow2", "w"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["file", "driver", "filename", "data", "data-file", "format-specific", "backing-filename",
                         "full-backing-filename", "backing-filename-format", "extents", "host"]), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_answer_is_used_or_told(tmp_path_factory, answer):
    """A program in qemu-img's place: what it prints may be anything."""
    folder = tmp_path_factory.getbasetemp() / "fake"
    folder.mkdir(exist_ok=True)
    (folder / "answer").write_text(json.dumps(answer))
    program = folder / "qemu-img"
    if not program.exists():
        program.write_text(f"#!/bin/sh\nexec cat {folder}/answer\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    real, chain.QEMU_IMG = chain.QEMU_IMG, str(program)
    try:
        found = ask("/d/top.qcow2", may_open=lambda path: False)
    finally:
        chain.QEMU_IMG = real
    assert all(isinstance(one, Source) for one in found.sources)
    if not isinstance(answer, dict):
        assert found.unknown == "qemu-img gave no usable answer for /d/top.qcow2"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | JSON.map(lambda value: "json:" + json.dumps(value)))
def test_any_name_is_some_source(name):
    assert isinstance(chain.named(name, "/d/top", "w"), Source)
