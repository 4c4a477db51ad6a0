"""The example file and the key reference, both made from the table."""

import re

from kvmontap.config import parse
from kvmontap.config.document import example, reference
from kvmontap.config.table import KEYS


def test_the_example_does_nothing_until_edited():
    loaded = parse(example())
    assert loaded.problems == () and loaded.config.pools == {} and loaded.config.arrays == {}


def test_the_example_is_sound_once_its_marks_are_taken_away():
    lines = example().split("\n# [ontap]", 1)[1].splitlines()
    loaded = parse("\n".join(re.sub(r"^# ", "", line) for line in ["# [ontap]"] + lines))
    assert [str(problem) for problem in loaded.problems] == []
    assert list(loaded.config.pools) == ["kvmnfs01", "kvmsmb01"] and list(loaded.config.clusters) == ["kvmcl01"]


def test_the_reference_has_every_key():
    text = reference()
    for keys in KEYS.values():
        for key in keys:
            assert f"`{key.name}`\n:   {key.help}." in text
