"""kvmontap.gate.configured: a typo takes nothing from a pool that was sound."""

from kvmontap.config import parse
from kvmontap.gate.configured import configured

SOUND = """[ontap]
[[prod]]
address = a.example.com
username = u
password-file = /etc/p
[pools]
[[p1]]
protocol = nfs
server = 192.0.2.1
export = /p1
ontap = prod
[[p2]]
protocol = nfs
server = 192.0.2.1
export = /p2
"""
BROKEN = SOUND.replace("export = /p1", "exprot = /p1")


def test_a_sound_file_is_as_it_is():
    found = configured(parse(SOUND), {}, {})
    assert (list(found.config.pools), found.broken, found.stale, found.problems) == (["p1", "p2"], (), (), ())


def test_a_broken_section_without_a_last_text_is_broken():
    found = configured(parse(BROKEN), {}, {})
    assert (list(found.config.pools), found.broken, found.stale) == (["p2"], ("p1",), ())
    assert found.problems


def test_what_this_process_saw_counts_before_what_was_recorded():
    good = parse(SOUND).config.pools
    recorded = {"p1": good["p1"]._replace(ontap="", export="/old")}
    assert configured(parse(BROKEN), recorded, {}).config.pools["p1"].export == "/old"
    found = configured(parse(BROKEN), recorded, good)
    assert (found.config.pools["p1"], found.broken, found.stale) == (good["p1"], (), ("p1",))


def test_a_pool_that_was_taken_out_is_gone():
    without = SOUND.replace("[[p2]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /p2\n", "")
    found = configured(parse(without), {}, parse(SOUND).config.pools)
    assert list(found.config.pools) == ["p1"] and not found.stale


def test_a_file_that_cannot_be_read_at_all_keeps_every_pool():
    good = parse(SOUND).config.pools
    assert configured(parse(b"\0\xff"), {}, good).config.pools == good
    assert configured(parse(b"\0\xff"), {}, {}).config.pools == {}
