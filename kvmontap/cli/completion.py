"""Completion for bash, zsh and fish, made from the parser when the package is built.  Pure; each function gives the text of one file."""

import argparse
from typing import Dict, Iterator, List, NamedTuple, Tuple

# What an argument's metavar stands for, and the shell command that lists it ("" = nothing to list).
_SECTION = "awk '/^[ \\t]*\\[[^[]/ { here = ($0 ~ /\\[%s\\]/) }" \
           " here && /^[ \\t]*\\[\\[[^[]/ { gsub(/^[ \\t]*\\[\\[|\\]\\].*$/, \"\"); print }'" \
           ' "${KVMONTAP_CONF:-/etc/kvmontap.conf}" 2>/dev/null'
POOLS, ARRAYS = _SECTION % "pools", _SECTION % "ontap"
VMS = "virsh -r -q list --all --name 2>/dev/null"
FILE, DIRECTORY = "file", "directory"
_LISTS: Dict[str, str] = {"POOL": POOLS, "ARRAY": ARRAYS, "VM": VMS, "FILE": FILE, "DIR": DIRECTORY}
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class Option(NamedTuple):
    """One option, under all its names."""

    names: Tuple[str, ...]
    text: str
    takes: bool  # a value
    values: str = ""  # a command that lists them, FILE, DIRECTORY, or words in quotes; "" where nobody knows


class Command(NamedTuple):
    """One command or group of commands."""

    path: Tuple[str, ...]  # () is kvmontap itself
    text: str
    below: Tuple[str, ...]
    options: Tuple[Option, ...]
    operands: str = ""  # as Option.values


def walk(parser: argparse.ArgumentParser, path: Tuple[str, ...] = (), text: str = "") -> Iterator[Command]:
    """Every command of the parser, groups before what is in them."""
    options: List[Option] = []
    groups = {}
    texts: Dict[str, str] = {}
    operands = ""
    for action in parser._actions:  # pylint: disable=protected-access  # argparse has no public way to walk a parser
        if isinstance(action, argparse._SubParsersAction):
            groups.update(action.choices)
            texts.update({choice.dest: choice.help or "" for choice in action._choices_actions})
        elif action.help != argparse.SUPPRESS:
            values = _values(action)
            if action.option_strings:
                said = (action.help or "") % vars(action) if action.nargs != 0 or "%" in (action.help or "") else action.help or ""
                options.append(Option(tuple(action.option_strings), said, action.nargs != 0, values))
            else:
                operands = operands or values
    yield Command(path, text, tuple(groups), tuple(options), operands)
    for name, one in groups.items():
        yield from walk(one, (*path, name), texts.get(name, ""))


def _values(action: argparse.Action) -> str:
    if action.choices:
        return f"echo {' '.join(str(choice) for choice in action.choices)}"
    return _LISTS.get(str(action.metavar or action.dest).upper(), "")


def _name(path: Tuple[str, ...]) -> str:
    return "_".join(("_kvmontap", *("".join(char if char in _CHARACTERS else "_" for char in part) for part in path)))


# -- bash


def bash(parser: argparse.ArgumentParser) -> str:
    """For /usr/share/bash-completion/completions/kvmontap."""
    lines = ["# bash completion for kvmontap, made from its parser", "_kvmontap() {",
             '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path="" below="" options="" values="" word',
             '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', '        case "$path $word" in']
    every = list(walk(parser))
    known = [" " + " ".join(command.path) for command in every if command.path]
    lines += [f"            {'|'.join(_quoted(one) for one in known)}) path=\"$path $word\" ;;", "        esac", "    done",
              '    case "$path" in']
    for command in every:
        key = _quoted("".join(f" {part}" for part in command.path))
        options = " ".join(name for option in command.options for name in option.names)
        lines += [f"        {key})", f'            below="{" ".join(command.below)}" options="{options}"']
        lines += [f"            values={_quoted(command.operands)}"] if command.operands else []
        taking = [option for option in command.options if option.takes]
        if taking:
            lines += ['            case "$prev" in']
            lines += [f"                {'|'.join(option.names)}) values={_quoted(option.values or ':')} below='' options='' ;;"
                      for option in taking]
            lines += ["            esac"]
        lines += ["            ;;"]
    lines += [
        "    esac",
        '    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur")); return; fi',
        '    case "$values" in',
        f'        {FILE}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;',
        f'        {DIRECTORY}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;',
        '        *) COMPREPLY=($(compgen -W "$below $(eval "$values")" -- "$cur")) ;;',
        "    esac",
        "}",
        "complete -F _kvmontap kvmontap",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """`text` as one word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


# -- zsh


def zsh(parser: argparse.ArgumentParser) -> str:
    """For a directory of fpath, under the name _kvmontap."""
    lines = ["#compdef kvmontap", "# made from its parser", ""]
    every = list(walk(parser))
    lists = {option.values for command in every for option in command.options} | {command.operands for command in every}
    for values in sorted(lists - {"", FILE, DIRECTORY}):
        lines += [f"{_zsh_list(values)}() {{", f'    local -a found=(${{=$({values})}})', "    compadd -a found", "}", ""]
    texts = {command.path: command.text for command in every}
    for command in every:
        lines += [f"{_name(command.path)}() {{"]
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        if command.below:
            described = [_quoted(f"{name}:{_plain(texts[(*command.path, name)])}") for name in command.below]
            lines += ["    local curcontext=$curcontext state line", f"    _arguments -C {' '.join(specs)} '1: :->command' '*:: :->rest'",
                      "    case $state in", "        command)", f"            local -a commands=({' '.join(described)})",
                      "            _describe command commands ;;", "        rest)", "            case $words[1] in"]
            lines += [f"                {name}) {_name((*command.path, name))} ;;" for name in command.below]
            lines += ["            esac ;;", "    esac"]
        else:
            rest = [_quoted(f"*: :{_zsh_values(command.operands)}")] if command.operands else []
            lines += [f"    _arguments {' '.join([*specs, *rest])}"]
        lines += ["}", ""]
    lines += ['_kvmontap "$@"']
    return "\n".join(lines) + "\n"


def _zsh_option(option: Option) -> Iterator[str]:
    for name in option.names:
        value = f": :{_zsh_values(option.values)}" if option.takes else ""
        yield _quoted(f"*{name}[{_plain(option.text)}]{value}")


def _zsh_values(values: str) -> str:
    if values in (FILE, DIRECTORY):
        return "_files" + (" -/" if values == DIRECTORY else "")
    # A function: a specification would take the command's colons and quotes for its own.
    return _zsh_list(values) if values else " "


def _zsh_list(values: str) -> str:
    known = {POOLS: "pools", ARRAYS: "arrays", VMS: "vms"}
    return "__kvmontap_list_" + known.get(values, _name(tuple(values.split())))


def _plain(text: str) -> str:
    """`text` without what zsh's specifications take for their own."""
    return "".join(" " if char in "[]\\" else ";" if char == ":" else char for char in text)


# -- fish


def fish(parser: argparse.ArgumentParser) -> str:
    """For /usr/share/fish/vendor_completions.d/kvmontap.fish."""
    lines = ["# fish completion for kvmontap, made from its parser", "function __kvmontap_at",
             "    # Whether the words of the command line that are no options begin with those given, and no further command follows.",
             "    set -l words (commandline -opc)", "    set -l seen", "    for word in $words[2..-1]",
             "        string match -q -- '-*' $word; or set -a seen $word", "    end",
             "    set -l depth (count $argv)", "    test $depth -eq 0; and return (count $seen)",
             "    test (count $seen) -ge $depth; and test \"$seen[1..$depth]\" = \"$argv\"", "end",
             "function __kvmontap_group", "    # The same for a group of commands: none of them may be there yet.",
             "    __kvmontap_at $argv; and test (count (string match -v -- '-*' (commandline -opc))) -eq (math (count $argv) + 1)", "end",
             "complete -c kvmontap -f"]
    every = list(walk(parser))
    texts = {command.path: command.text for command in every}
    for command in every:
        at = " ".join(("__kvmontap_group" if command.below else "__kvmontap_at", *command.path))
        for name in command.below:
            lines.append(f"complete -c kvmontap -n {_fish(at)} -a {_fish(name)} -d {_fish(texts[(*command.path, name)])}")
        for option in command.options:
            flags = "".join(f" -l {_fish(name[2:])}" if name.startswith("--") else f" -s {_fish(name[1:])}" for name in option.names)
            values = _fish_values(option.values) if option.takes else ""
            lines.append(f"complete -c kvmontap -n {_fish(at)}{flags} -d {_fish(option.text)}{values}")
        if command.operands:
            lines.append(f"complete -c kvmontap -n {_fish(at)}{_fish_values(command.operands).replace(' -x', '', 1)}")
    return "\n".join(lines) + "\n"


def _fish_values(values: str) -> str:
    if values == FILE:
        return " -r -F"
    if values == DIRECTORY:
        return " -x -a " + _fish("(__fish_complete_directories)")
    return " -x" + (f" -a {_fish(f'(sh -c {_quoted(values)})')}" if values else "")


def _fish(text: str) -> str:
    """`text` as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
