"""The key table as text: the example configuration, and the list of keys for kvmontap.conf(5).

Pure; not on the boot path.
"""

from typing import Iterator, List

from kvmontap.config.table import CLUSTER, KEYS, METRICS, ONTAP, POLICIES, POOL, POOL_TYPES, Key
from kvmontap.model import NFS, SMB

_HEAD = """\
# /etc/kvmontap.conf: which ONTAP storage this KVM host uses, and what a VM start asks for.
# Every line here is a comment: nothing happens until you take the '#' away.  See kvmontap.conf(5).
# After a change: kvmontap check && systemctl daemon-reload, then start the pool's mount, or reboot.
"""
_USUAL = ("svm", "username", "password-file", "ca", "ontap")  # what nearly everybody sets, so that it reads as a whole
_TITLES = {
    "ontap": "management endpoints, one subsection each",
    "pools": "one subsection = one libvirt storage pool of that name",
    "clusters": "clusters of hosts that share OCFS2 or GFS2",
    "boot": "how pools are brought up",
    "gate": "what a VM start asks for",
    "snapshots": "what the array keeps for a VM",
    "metrics": "what is written for Prometheus",
}


def example() -> str:
    """The example file: every key of the sections, all of it commented out, in the order of the table."""
    lines: List[str] = [_HEAD]
    lines += _section("ontap", "prod", ONTAP, {"protocol": ""})
    lines += [f"# [pools]  # {_TITLES['pools']}"]
    lines += _subsection("kvmnfs01", [key for key in POOL if not key.protocols or NFS in key.protocols], {"protocol": NFS})
    lines += _subsection("kvmsmb01", [key for key in POOL if SMB in key.protocols], {"protocol": SMB, "server": "files.example.com"})
    lines += _section("clusters", "kvmcl01", CLUSTER, {})
    lines += ["#         [[[nodes]]]  # number by position, or \"address, port, number\"",
              "#         kvm01 = 172.21.35.21", "#         kvm02 = 172.21.35.22", ""]
    for name, keys in POLICIES.items():
        lines += [f"# [{name}]  # {_TITLES[name]}; a pool may override any key in [[[{name}]]]"]
        lines += [line.replace("#     ", "# ", 1) for line in _keys(keys, {})] + [""]
    lines += [f"# [metrics]  # {_TITLES['metrics']}"]
    lines += [line.replace("#     ", "# ", 1) for line in _keys(METRICS, {})] + [""]
    return "\n".join(lines)


def _section(name: str, sub: str, keys, given) -> List[str]:
    return [f"# [{name}]  # {_TITLES[name]}"] + _subsection(sub, keys, given)


def _subsection(name: str, keys, given) -> List[str]:
    protocol = [f"#     protocol = {given['protocol']}"] if given.get("protocol") else []
    return [f"#     [[{name}]]"] + protocol + list(_keys([key for key in keys if key.name != "protocol"], given)) + [""]


def _keys(keys, given) -> Iterator[str]:
    for key in keys:
        value = given.get(key.name) or key.example or key.default
        # What is needed or has a default stands as it would be used; the rest is an offer, one '#' deeper.
        mark = "#     " if key.needed or key.default or key.name in _USUAL else "#     # "
        yield f"{mark}{key.name} = {value}".rstrip().ljust(56) + f"  # {key.help}"


def reference() -> str:
    """The keys as Markdown, one list per section: the body of kvmontap.conf(5)."""
    parts = []
    for section, keys in KEYS.items():
        title = f"[{section}]" + ("" if section in (*POLICIES, "metrics") else " [[NAME]]")
        parts.append(f"## {title}\n\n{_TITLES[section].capitalize()}.\n")
        parts += [_item(key) for key in keys]
    parts.append("## Pool types\n")
    parts += [f"`{kind}`\n:   with {', '.join(protocols)}\n" for kind, protocols in POOL_TYPES.items()]
    return "\n".join(parts)


def _item(key: Key) -> str:
    facts = []
    if key.protocols:
        facts.append("Protocols: " + ", ".join(key.protocols))
    if key.needed:
        facts.append("Required" if key.needed == ("*",) else "Required for " + ", ".join(key.needed))
    if key.choices:
        facts.append("One of " + ", ".join(f"`{one}`" for one in key.choices))
    if key.high:
        facts.append(f"From {key.low:g} to {key.high:g}")
    if key.default:
        facts.append(f"Default `{key.default}`")
    if key.example:
        facts.append(f"Example `{key.example}`")
    return f"`{key.name}`\n:   {key.help}. {'. '.join(facts)}{'.' if facts else ''}\n"
