"""Unit names: systemd-escape is the judge."""

import subprocess

import pytest
from hypothesis import given, settings, strategies as st

from kvmontap.units.escape import instance, path_unit, string, whole_line

CHARACTERS = st.characters(blacklist_characters="\0\n", blacklist_categories=("Cs",))
PARTS = st.text(CHARACTERS, min_size=1, max_size=12).filter(lambda part: part != ".." and "/" not in part)


def escaped(arguments, *options):
    done = subprocess.run(["systemd-escape", *options, "--", *arguments], capture_output=True, check=True, timeout=30)
    return done.stdout.decode().rstrip("\n").split(" ")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(PARTS, min_size=0, max_size=5).map(lambda parts: "/" + "//".join(parts)), min_size=1, max_size=30))
def test_paths(paths):
    assert [path_unit(path, "mount") for path in paths] == [f"{name}.mount" for name in escaped(paths, "--path")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=20), min_size=1, max_size=30))
def test_strings(texts):
    assert [string(text) for text in texts] == escaped(texts)


def test_names():
    assert path_unit("/", "mount") == "-.mount"
    assert path_unit("/mnt/kvmnfs01/", "automount") == "mnt-kvmnfs01.automount"
    assert instance("kvmontap-config-error@.service", "a-b/c") == "kvmontap-config-error@a\\x2db-c.service"


@pytest.mark.parametrize("text, fits", [
    ("a b", True), ("a\\b", True), ("a%", True), ("", True),
    (" a", False), ("a ", False), ("a\\", False), ("a\nb", False), ("a\x7f", False),
])
def test_what_a_setting_can_hold(text, fits):
    assert whole_line(text) is fits
