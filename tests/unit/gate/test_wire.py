"""kvmontap.gate.wire: what is sent arrives as it was, and nothing else counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.gate import wire

NAMES = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=30)


@given(NAMES, NAMES, NAMES, NAMES, st.floats(0, 800), st.binary(max_size=200))
def test_a_request_arrives_as_it_was(name, op, subop, extra, seconds, xml):
    *names, told, body = wire.parse_request(wire.request(name, op, subop, extra, seconds, xml))
    assert (names, body) == ([name, op, subop, extra], xml)
    assert told == pytest.approx(seconds, abs=0.001)


def test_a_name_that_is_no_text_arrives_byte_for_byte():
    assert wire.parse_request(wire.request("\udcff", "a", "b", "-", 1, b""))[0] == "\udcff"


def test_a_line_break_in_a_name_is_refused():
    with pytest.raises(wire.WireError):
        wire.request("g\nprepare", "migrate", "begin", "-", 1, b"")


@given(st.binary(max_size=100))
def test_what_is_no_request_is_said_to_be_none(data):
    with pytest.raises(wire.WireError):
        wire.parse_request(data)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e30", "", "x"])
def test_a_duration_is_a_duration(seconds):
    data = wire.request("g", "prepare", "begin", "-", 1, b"").replace(b"1.000", seconds.encode())
    with pytest.raises(wire.WireError):
        wire.parse_request(data)


@given(st.lists(st.floats(0, 100), max_size=3), st.booleans(), st.text(max_size=60), st.data())
def test_a_reply_is_understood_in_any_pieces(waits, allow, sentence, data):
    whole = b"".join(map(wire.wait, waits)) + wire.reply(allow, sentence)
    for cut in sorted(data.draw(st.sets(st.integers(0, len(whole) - 1), max_size=5))):
        told, verdict, _ = wire.parse_reply(whole[:cut], False)
        assert verdict is None and len(told) <= len(waits)
    told, verdict, text = wire.parse_reply(whole, True)
    assert (told, verdict) == (pytest.approx(waits, abs=0.001), allow)
    assert text.split() == sentence.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape").split()


@pytest.mark.parametrize("data", [b"\n", b"HTTP/1.1 400 Bad Request\r\n", b"wait nan\n", b"allowed\n", b"x" * 50, b"refuse \n", b"\xff\n"])
def test_what_is_no_reply_is_said_to_be_none(data):
    with pytest.raises(wire.WireError):
        wire.parse_reply(data, False)


def test_a_reply_that_ends_early_is_no_verdict():
    for data in (b"", b"wait 5.0\n", b"allo", b"refuse"):
        assert wire.parse_reply(data, True)[1] is None
