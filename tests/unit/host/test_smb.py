"""The channels of SMB sessions, from the text that the kernel gives of them."""

import os
from pathlib import Path

import pytest

from kvmontap.host import smb
from kvmontap.model import Pool

RECORDED = Path(__file__).parent / "recorded"
POOL = Pool("s", "smb", "/mnt/s", server=("10.9.1.10",), share="kvmsmb01", max_channels=4)
HEAD = """Display Internal CIFS Data Structures for Debugging
---------------------------------------------------
CIFS Version 2.51
Features: DFS,FSCACHE,STATS,DEBUG,ALLOW_INSECURE_LEGACY,CIFS_POSIX,UPCALL(SPNEGO),XATTR,ACL
CIFSMaxBufSize: 16384
Active VFS Requests: 0

Servers: 
"""  # noqa: W291


def server(number, host, address, share, states, primary="", ipc="", tree=""):
    """One server with a session of a channel per state, in the form of fs/smb/client/cifs_debug.c."""
    first, *others = states
    lines = [f"{number}) ConnectionId: 0x{number} Hostname: {host} ", "ClientGUID: 8A3D2C1B-0000-4000-8000-000000000001",
             "Number of credits: 8190,1,1 Dialect 0x311", f"TCP status: {first[0]} Instance: 1",
             "Local Users To Server: 1 SecMode: 0x1 Req On Wire: 0 Net namespace: 4026531840 ", "In Send: 0 In MaxReq Wait: 0",
             "Compression: no built-in support", "", "\tSessions: ",
             f"\t1) Address: {address} Uses: 1 Capability: 0x30006f\tSession Status: 1 ", "\tSecurity type: RawNTLMSSP  SessionId: 0x5f2f",
             f"\tUser: 0 Cred User: 0{primary}", "", f"\tExtra Channels: {len(others)} "]
    for place, (status, said) in enumerate(others, 2):
        lines += ["", f"\t\tChannel: {place} ConnectionId: 0x{number}{place}", "\t\tNumber of credits: 8190,1,1 Dialect 0x311",
                  f"\t\tTCP status: {status} Instance: 1", "\t\tLocal Users To Server: 1 SecMode: 0x1 Req On Wire: 0",
                  f"\t\tIn Send: 0 In MaxReq Wait: 0{said}"]
    lines += ["", "\tShares: ", f"\t0) IPC: \\\\{host}\\IPC$ Mounts: 1 DevInfo: 0x0 Attributes: 0x0",
              f"\tPathComponentMax: 0 Status: 1 type: 0 Serial Number: 0x0 Share Capabilities: None\tShare Flags: 0x30{ipc}", "",
              f"\t1) \\\\{host}\\{share} Mounts: 1 Type: NTFS DevInfo: 0x20 Attributes: 0x1006f",
              f"\tPathComponentMax: 255 Status: 1 type: DISK Serial Number: 0x2b5c2e51{tree}", "", "",
              "\tServer interfaces: 2\tLast updated: 12 seconds ago", "\t1)\tSpeed: 10Gbps", "\t\tCapabilities: ", "\t\tIPv4: 10.9.1.10",
              "\t\t[CONNECTED]", "", "\tMIDs: "]
    return "\n".join(lines) + "\n"


GOOD, DOWN, COMING = ("1", ""), ("3", "\tDISCONNECTED "), ("1", "\t[RECONNECTING] ")


def channels(tmp_path, text, pool=POOL):
    os.makedirs(tmp_path / "proc/fs/cifs", exist_ok=True)
    (tmp_path / smb.PATH).write_text(HEAD + text)
    return [(one.code, one.text) for one in smb.channels(pool, str(tmp_path))]


def test_all_channels_are_up(tmp_path):
    text = server(1, "10.9.1.10", "10.9.1.10", "kvmsmb01", [GOOD] * 4)
    assert smb.sessions(HEAD + text) == (
        smb.Session("10.9.1.10", "10.9.1.10", 4, 4, (r"\\10.9.1.10\kvmsmb01",)),)
    assert channels(tmp_path, text) == []
    assert channels(tmp_path, text, POOL._replace(max_channels=1)) == []


@pytest.mark.parametrize("states, primary, have, wanted", [
    ([GOOD], "", 1, 4),
    ([GOOD, GOOD, DOWN, DOWN], "", 2, 4),
    ([GOOD, GOOD, COMING], "", 2, 3),
    ([GOOD] * 4, "\tPrimary channel: DISCONNECTED \t[RECONNECTING] ", 3, 4),
    ([("3", ""), GOOD, GOOD, GOOD], "", 3, 4),
])
def test_channels_that_are_missing(states, primary, have, wanted, tmp_path):
    found = channels(tmp_path, server(1, "10.9.1.10", "10.9.1.10", "kvmsmb01", states, primary))
    assert found == [("channel.missing", f"{have} of {wanted} SMB channels to 10.9.1.10 are up")]


def test_as_linux_6_12_showed_it(tmp_path):
    """Samba with two interfaces that do not do RSS, max_channels=4: one channel to each."""
    text = (RECORDED / "DebugData.txt").read_text()
    assert smb.sessions(text) == (smb.Session("10.9.1.10", "10.9.1.10", 2, 2, (r"\\10.9.1.10\kvmsmb01",)),)
    assert channels(tmp_path, text) == []


def test_a_server_whose_interfaces_take_one_channel_each(tmp_path):
    """max-channels is a bound: without RSS the kernel opens no second channel to an interface."""
    assert channels(tmp_path, server(1, "10.9.1.10", "10.9.1.10", "kvmsmb01", [GOOD, GOOD])) == []


def test_a_share_that_is_disconnected_is_no_channel(tmp_path):
    """As after a restart of the server, until somebody uses the share again."""
    text = server(1, "10.9.1.10", "10.9.1.10", "kvmsmb01", [GOOD] * 4, ipc="\tDISCONNECTED ", tree="\tDISCONNECTED ")
    assert channels(tmp_path, text) == []


def test_the_session_of_the_pools_own_share_counts(tmp_path):
    text = server(1, "other", "10.9.9.9", "kvmsmb01", [GOOD]) + server(2, "filer.example.com", "10.9.1.10", "KVMSMB01", [GOOD, DOWN])
    named = POOL._replace(server=("Filer.example.com",))
    assert channels(tmp_path, text, named) == [("channel.missing", "1 of 2 SMB channels to filer.example.com are up")]
    assert channels(tmp_path, text) == [], "no share of that server is mounted: the mount itself is judged elsewhere"


def test_a_kernel_without_cifs(tmp_path):
    assert smb.channels(POOL, str(tmp_path)) == () == smb.sessions("")
