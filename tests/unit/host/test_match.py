"""kvmontap.host.match: which pools a domain touches; by name only inside a pool, by the kernel's rules outside."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap.domain.pooldefs import PoolDef
from kvmontap.host import match, mountinfo
from kvmontap.model import Config, Domain, Pool, Source


def config(**targets):
    return Config({}, {name: Pool(name, "nfs", target) for name, target in targets.items()}, {})


def hits(sources, conf, pooldefs=None, broken=(), links=None):
    links = links or {}
    found = match.match(
        Domain("vm", "u", tuple(sources)), conf, pooldefs or {}, broken, readlink=lambda path: links.get(path, "")
    )
    return {hit.pool: [source.path or source.volume for source in hit.sources] for hit in found}


def file(path):
    return Source("file", "disk vda", path=path)


CONF = config(one="/mnt/one", two="/mnt/two", block="")


@pytest.mark.parametrize(
    "path, pools",
    [
        ("/mnt/one/vm.qcow2", ["one"]),
        ("/mnt/one", ["one"]),
        ("//mnt//one/./vm", ["one"]),
        ("/mnt/one2/vm", []),
        ("/mnt/onevm", []),
        ("/mnt/other/../one/vm", ["one"]),
        ("/mnt/one/../two/vm", ["one", "two"]),
        ("mnt/one/relative", ["one"]),
        ("/../../mnt/one/x", ["one"]),
        ("", []),
        ("/", []),
        ("/dev/mapper/x", []),
    ],
)
def test_by_path(path, pools):
    assert list(hits([file(path)], CONF)) == pools


@pytest.mark.parametrize(
    "path, links, pools",
    [
        ("/images/vm", {"/images": "/mnt/one/images"}, ["one"]),
        ("/var/lib/images/vm", {"/var/lib/images": "../../mnt/two"}, ["two"]),
        ("/a/vm", {"/a": "b", "/b": "c/d", "/c": "/mnt", "/mnt/d": "one"}, ["one"]),
        ("/a/vm", {"/a": "/mnt/one/.."}, ["one"]),
        ("/a", {"/a": "/mnt/one/x"}, ["one"]),
        ("/loop/x", {"/loop": "/loop"}, []),
        ("/loop/x", {"/loop": "other", "/other": "loop/loop"}, []),
        ("/srv/one/vm", {"/mnt": "/srv"}, ["one"]),  # the target itself is reached through a link
        ("/mnt/one/vm", {"/mnt": "/srv"}, ["one"]),
    ],
)
def test_symbolic_links_are_followed_on_the_way(path, links, pools):
    assert list(hits([file(path)], CONF, links=links)) == pools


def test_volumes_by_the_name_of_the_pool_or_by_its_place():
    volume = Source("volume", "disk vda", pool="images", volume="vm.qcow2")
    assert hits([volume], CONF) == {}
    assert hits([volume._replace(pool="one")], CONF) == {"one": ["vm.qcow2"]}
    assert hits([volume], CONF, {"images": PoolDef("images", "dir", "/mnt/two/images")}) == {"two": ["vm.qcow2"]}
    assert hits([volume], CONF, {"images": PoolDef("images", "iscsi", "/dev/disk/by-path")}) == {}
    assert hits([volume], CONF, {"images": PoolDef("images", "dir", "/pool")}, links={"/pool": "/mnt/one"}) == {
        "one": ["vm.qcow2"]
    }
    # A pool of our name that somebody defined elsewhere touches both.
    assert list(hits([volume._replace(pool="one")], CONF, {"one": PoolDef("one", "dir", "/mnt/two")})) == ["one", "two"]


def test_broken_sections_match_by_name_and_by_their_usual_place():
    volume = Source("volume", "disk vda", pool="bad", volume="vm")
    assert hits([volume], CONF, broken=("bad",)) == {"bad": ["vm"]}
    assert hits([file("/mnt/bad/vm")], CONF, broken=("bad",)) == {"bad": ["/mnt/bad/vm"]}
    elsewhere = {"bad": PoolDef("bad", "dir", "/vmstore")}
    assert hits([file("/vmstore/vm")], CONF, elsewhere, broken=("bad",)) == {"bad": ["/vmstore/vm"]}
    assert hits([file("/mnt/bad/vm")], CONF) == {}
    (hit,) = match.match(Domain("vm", "", (volume,)), CONF, {}, ("bad",), readlink=lambda path: "")
    assert hit.broken


def test_a_definition_on_the_root_does_not_catch_every_vm():
    assert hits([file("/var/x")], CONF, {"bad": PoolDef("bad", "dir", "/")}, broken=("bad",)) == {}


def test_several_sources_come_in_the_order_of_the_configuration():
    found = hits([file("/mnt/two/a"), file("/mnt/one/b"), file("/mnt/two/c"), file("/local")], CONF)
    assert found == {"one": ["/mnt/one/b"], "two": ["/mnt/two/a", "/mnt/two/c"]}


def test_network_and_nvme_disks_belong_to_none():
    sources = [
        Source("network", "disk vda", protocol="nfs", name="/mnt/one/x", hosts=("h",)),
        Source("nvme", "disk vdb", name="0000:01:00.0 namespace 1"),
    ]
    assert hits(sources, CONF) == {}


def test_nothing_below_a_mount_that_may_be_dead_is_asked(monkeypatch):
    mounts = (
        mountinfo.Mount("/", "/dev/vda", "ext4", id=1),
        mountinfo.Mount("/dead", "h:/x", "nfs4", id=2, parent=1),
        mountinfo.Mount("/ssh", "h:", "fuse.sshfs", id=3, parent=1),
        mountinfo.Mount("/tmp", "t", "tmpfs", id=4, parent=1),
    )
    asked = []
    monkeypatch.setattr(os, "readlink", lambda path: asked.append(path) or "")
    readlink = match.links(mounts)
    for path in ("/dead", "/dead/a", "/ssh/b", "/tmp/c", "/deadly"):
        readlink(path)
    assert asked == ["/tmp/c", "/deadly"]


NAMES = ("mnt", "one", "two", "a", "b")


@pytest.mark.parametrize("seed", range(30))
def test_the_kernel_agrees_about_random_links(tmp_path, seed):
    """Random directories and links on disk: what realpath finds below a target is a hit; no target is ever touched."""
    choice = random.Random(seed)
    top = str(tmp_path)
    paths = [top]
    for _ in range(25):
        parent = choice.choice(paths)
        path = os.path.join(parent, choice.choice(NAMES))
        if os.path.lexists(path) or not os.path.isdir(parent):
            continue
        if choice.random() < 0.5:
            os.mkdir(path)
        else:
            goal = choice.choice(paths)
            os.symlink(goal if choice.random() < 0.5 else os.path.relpath(goal, os.path.realpath(parent)), path)
        paths.append(path)
    folders = [path for path in paths[1:] if os.path.isdir(path) and not os.path.islink(path) and path == os.path.realpath(path)]
    targets = choice.sample(folders, min(2, len(folders)))
    conf = config(**{f"p{number}": path for number, path in enumerate(targets)})
    asked = []

    def readlink(path):
        asked.append(path)
        try:
            return os.readlink(path)
        except OSError:
            return ""

    inside = [path for path in paths if os.path.islink(path)
              and any(mountinfo.is_below(os.path.realpath(os.path.dirname(path)), target) for target in targets)]
    for path in paths:
        where = os.path.join(path, "vm.img")
        real = os.path.realpath(where)
        expected = {name for name, pool in conf.pools.items() if mountinfo.is_below(real, pool.target)}
        found = {hit.pool for hit in match.match(Domain("vm", "", (file(where),)), conf, {}, readlink=readlink)}
        if inside:  # links inside a pool are not followed: what one of them leads to is told as the pool it lies in
            assert found or not expected, (where, real, targets)
        else:
            assert found == expected, (where, real, targets)
    assert not [path for path in asked if any(mountinfo.is_below(path, target) for target in targets)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["", ".", "..", "mnt", "one", "a", "b\n", "\udcff"]), max_size=6).map("/".join), max_size=5),
    st.dictionaries(
        st.sampled_from(["/a", "/mnt", "/mnt/a", "/b\n"]),
        st.lists(st.sampled_from(["", "..", "a", "mnt", "one"]), min_size=1, max_size=4).map("/".join),
    ),
)
def test_any_paths_and_links_end(paths, links):
    found = hits([file(path) for path in paths], CONF, links=links)
    assert set(found) <= {"one", "two"}


def test_five_hundred_pools_and_fifty_disks_are_matched_quickly():
    import time

    conf = config(**{f"p{n}": f"/mnt/p{n}" for n in range(500)})
    sources = [file(f"/mnt/p{n}/vm.qcow2") for n in range(50)]
    started = time.process_time()
    assert len(hits(sources, conf)) == 50
    assert time.process_time() - started < 0.25
