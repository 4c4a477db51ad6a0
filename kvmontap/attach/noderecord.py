"""open-iscsi's node records as text: what we set in them.  Pure.

A record is edited as a file, because iscsiadm takes a CHAP secret only as an argument, where everybody can read it.
"""

from typing import Dict, List, Tuple

BEGIN, END = "# BEGIN RECORD", "# END RECORD"
# Seconds until commands on a dead path fail over to another one: NetApp's value for hosts with multipath.
REPLACEMENT_TIMEOUT = 5
_AUTH = "node.session.auth."


def settings(chap: Dict[str, str]) -> Dict[str, str]:
    """What a record of ours has; `chap` is the pool's chap-file: username, password, username-in, password-in, or empty."""
    wanted = {
        "node.startup": "manual",  # we log in, nobody else
        "node.session.timeo.replacement_timeout": str(REPLACEMENT_TIMEOUT),
    }
    if not chap:
        return {**wanted, _AUTH + "authmethod": "None"}
    wanted[_AUTH + "authmethod"] = "CHAP"
    for key in ("username", "password", "username-in", "password-in"):
        if chap.get(key):
            wanted[_AUTH + key.replace("-", "_")] = chap[key]
    return wanted


def chap_problem(chap: Dict[str, str]) -> str:
    """What is wrong with the pairs of a chap-file, "" when nothing is; no value is ever named."""
    for key in ("username", "password"):
        if not chap.get(key):
            return f"has no line {key}="
    if bool(chap.get("username-in")) != bool(chap.get("password-in")):
        return "has only one of username-in= and password-in=; mutual CHAP needs both"
    if chap.get("password-in") and chap["password-in"] == chap["password"]:
        return "has the same secret in both directions, which iSCSI forbids"
    unknown = sorted(set(chap) - {"username", "password", "username-in", "password-in"})
    return f"has {unknown[0]}=, which means nothing there" if unknown else ""


def edited(text: str, wanted: Dict[str, str]) -> str:
    """A record with `wanted` in it: each key once, in place of its old value; CHAP values that are not wanted are gone."""
    left = dict(wanted)
    lines: List[str] = []
    for line in text.splitlines():
        key, equals, _ = line.partition("=")
        key = key.strip()
        if line.strip() == END:
            lines += [f"{name} = {value}" for name, value in left.items()]
            left = {}
        elif equals and key in wanted:
            if key not in left:
                continue
            line = f"{key} = {left.pop(key)}"
        elif equals and key.startswith(_AUTH) and key[len(_AUTH):] in ("username", "password", "username_in", "password_in"):
            continue
        lines.append(line)
    lines += [f"{name} = {value}" for name, value in left.items()]
    return "\n".join(lines) + "\n"


def discovered(output: str) -> Tuple[Tuple[str, int, str, str], ...]:
    """(address, port, group tag, IQN) of each line of `iscsiadm -m discovery -t st`: "10.9.1.10:3260,1 iqn.2003-01.org:x"."""
    found = []
    for line in output.splitlines():
        portal, _, target = line.strip().partition(" ")
        place, comma, tag = portal.rpartition(",")
        host, colon, port = place.rpartition(":")
        if comma and colon and port.isdigit() and target.strip():
            found.append((host.strip("[]"), int(port), tag, target.strip()))
    return tuple(found)
