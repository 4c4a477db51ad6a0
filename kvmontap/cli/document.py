"""The command line and the reason codes as Markdown, for the man page."""

import argparse
from typing import Iterable, Iterator, Tuple

from kvmontap.doctor.advice import CHECKS
from kvmontap.reasons import REASONS


def _leaves(parser: argparse.ArgumentParser) -> Iterator[Tuple[argparse.ArgumentParser, str]]:
    """Every command that does something, with its one-line help."""
    for action in parser._actions:  # pylint: disable=protected-access  # argparse has no public way to walk a parser
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                below = list(_leaves(sub))
                yield from below if below else [(sub, texts.get(name, ""))]


def synopsis(parser: argparse.ArgumentParser) -> str:
    """One line per command."""
    lines = []
    for sub, _ in _leaves(parser):
        usage = " ".join(sub.format_usage().split()).replace("usage: ", "").replace(" [-h]", "")
        lines.append("    " + usage)
    return "\n".join(lines)


def commands(parser: argparse.ArgumentParser) -> str:
    """What each command does and its options."""
    parts = []
    for sub, text in _leaves(parser):
        parts.append(f"## {sub.prog}\n\n{text[0].upper() + text[1:]}.\n")
        for action in sub._actions:  # pylint: disable=protected-access
            if isinstance(action, argparse._HelpAction):
                continue
            name = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
            name += f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
            parts.append(f"**{name}**\n:   {(action.help or '') % vars(action)}\n")
    return "\n".join(parts)


def reasons() -> str:
    """Every reason code with its health, text and remedy; fields in braces are filled in."""
    return "\n".join(
        f"**{code}** ({reason.health})\n:   {_plain(reason.text)}. {_plain(reason.fix)}.\n" for code, reason in sorted(REASONS.items()))


def reason_items(areas: Iterable[str]) -> str:
    """The codes of some areas (what stands before the dot) as a list."""
    found = [(code, reason) for code, reason in sorted(REASONS.items()) if code.partition(".")[0] in areas]
    return "\n".join(f"- **{code}** ({reason.health}): {_plain(reason.text)}. To do: {_plain(reason.fix) or 'nothing'}." for code,
                     reason in found)


def checks() -> str:
    """Every check of the doctor with its level and why it matters."""
    return "\n".join(f"**{name}** ({check.level})\n:   {check.why[0].upper()}{check.why[1:]}.\n" for name, check in CHECKS.items())


def _plain(text: str) -> str:
    return text.replace("{", "*").replace("}", "*").replace(":.1f", "")
