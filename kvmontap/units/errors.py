"""Units that fail with the text of what is wrong, so that `systemctl --failed` shows a pool that is missing for its section.

The template is units/kvmontap-config-error@.service; here are the instances' drop-ins.  Pure.  On the boot path.
"""

from binascii import b2a_base64
from typing import Dict, Iterable, List, Tuple

from kvmontap.model import Problem
from kvmontap.units.escape import UNIT_NAME_MAX, instance, specifiers
from kvmontap.units.mount import HEADER

TEMPLATE = "kvmontap-config-error@.service"
TEMPLATE_PATH = f"/usr/lib/systemd/system/{TEMPLATE}"
WANTED_BY = "multi-user.target.wants"
LONGEST = 16 << 10  # characters of text; a unit file is for people to read


def units(problems: Iterable[Problem]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """({path: text}, {link: target}) for the fatal ones of `problems`: one instance for each section that has any."""
    told: Dict[str, List[Problem]] = {}
    for problem in problems:
        if problem.fatal:
            told.setdefault(error_unit(problem), []).append(problem)
    files, links = {}, {}
    for name, those in told.items():
        files[f"{name}.d/50-problem.conf"] = _drop_in(those)
        links[f"{WANTED_BY}/{name}"] = TEMPLATE_PATH
    return files, links


def error_unit(problem: Problem) -> str:
    """The unit that tells `problem`: named after the pool, another section's path, or the file."""
    top, _, rest = problem.section.partition("/")
    name = rest.partition("/")[0] if top == "pools" and rest else problem.section
    name = name or problem.file.rpartition("/")[2] or "kvmontap.conf"
    unit = instance(TEMPLATE, name)
    while len(unit) > UNIT_NAME_MAX - len(".d"):  # the drop-in's directory is a file name too
        name = name[: len(name) * 3 // 4]
        unit = instance(TEMPLATE, name)
    return unit


def _drop_in(problems: List[Problem]) -> str:
    text = "".join(f"{problem}\n" for problem in problems)[:LONGEST]
    data = b2a_base64(text.encode("utf-8", "replace"), newline=False).decode("ascii")
    # The text once more, for those who read the unit.
    comments = [f"# {line}" if line.isprintable() else f"# {line!a}" for line in text.splitlines()]
    return "\n".join([
        HEADER,
        *comments,
        "",
        "[Unit]",
        f"SourcePath={specifiers(problems[0].file)}",
        "",
        "[Service]",
        f"StandardInputData={data}",
        "",
    ])
