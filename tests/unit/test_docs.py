"""The man pages name every command, option, key and reason code, since they are made from them."""

import os
import subprocess
import sys

from kvmontap.cli import parser
from kvmontap.cli.completion import walk
from kvmontap.config.table import KEYS
from kvmontap.doctor.advice import CHECKS
from kvmontap.reasons import REASONS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_the_pages_are_complete(tmp_path):
    subprocess.run([sys.executable, "docs/build-man", str(tmp_path)], cwd=ROOT, check=True)
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(pages) == {"kvmontap.8.md", "kvmontap.conf.5.md", "kvmontapd.8.md", "kvmontap-generator.8.md",
                          "mount.kvmontap-nfs.8.md"}
    assert not any("<!--" in text for text in pages.values())
    for check in CHECKS:
        assert f"**{check}** (" in pages["kvmontap.8.md"]
    for code in REASONS:
        assert f"**{code}** (" in pages["kvmontap.8.md"]
    for keys in KEYS.values():
        for key in keys:
            assert f"`{key.name}`" in pages["kvmontap.conf.5.md"]
    for word in ("kvmontap check", "kvmontap status", "kvmontap pool apply", "--root DIR", "--json"):
        assert word in pages["kvmontap.8.md"]
    assert parser().prog == "kvmontap"
    for command in walk(parser()):
        if command.below:
            continue
        _, here, section = pages["kvmontap.8.md"].partition(f"## kvmontap {' '.join(command.path)}\n")
        assert here, command.path
        section = section.split("\n## ")[0].split("\n# ")[0]
        assert command.text, f"{command.path} has no help"
        for option in command.options:
            assert option.names[-1] == "--help" or (f"**{', '.join(option.names)}" in section and option.text), (command.path, option.names)


def test_the_readme_shows_a_sound_configuration():
    from kvmontap.config import parse

    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as stream:
        text = stream.read()
    shown = text.split("```ini\n", 1)[1].split("```", 1)[0]
    loaded = parse(shown)
    assert loaded.problems == () and loaded.config.pools["kvmnfs01"].trunking
