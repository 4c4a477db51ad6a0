"""kvmontap.host.address: the many spellings of one host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.host import address


@pytest.mark.parametrize(
    "typed, plain",
    [
        ("172.21.35.11", "172.21.35.11"),
        ("Filer.Example.COM.", "filer.example.com"),
        ("[FD00:0:0::1]", "fd00::1"),
        ("fd00::0:1", "fd00::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("172.21.35.11\n\0", "172.21.35.11"),
        ("a:b", "a:b"),
        ("", ""),
    ],
)
def test_plain(typed, plain):
    assert address.plain(typed) == plain


@pytest.mark.parametrize(
    "host, expected", [("10.0.0.1", True), ("[::1]", True), ("fe80::1%eth0", True), ("filer", False), ("10.1", False), ("", False)]
)
def test_is_address(host, expected):
    assert address.is_address(host) is expected


@pytest.mark.parametrize(
    "what, protocol, parts",
    [
        ("10.0.0.1:/exp", "nfs", ("10.0.0.1", "/exp")),
        ("[fd00::1]:/exp", "nfs", ("fd00::1", "/exp")),
        ("fd00::1:/exp", "nfs", ("fd00::1", "/exp")),
        ("h:/a:/b", "nfs", ("h", "/a:/b")),
        ("tmpfs", "nfs", ("", "tmpfs")),
        ("//h/share/dir", "smb", ("h", "share/dir")),
        ("\\\\h\\share", "smb", ("h", "share")),
        ("", "smb", ("", "")),
    ],
)
def test_split(what, protocol, parts):
    assert address.split(what, protocol) == parts


@given(st.text())
def test_any_text_has_one_spelling(text):
    plain = address.plain(text)
    if address.is_address(text):
        assert address.plain(plain) == plain and address.plain(address.bracketed(text)) == plain
    address.split(text, "nfs")
    address.split(text, "smb")
