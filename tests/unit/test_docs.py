"""The man pages name every command, option, key and reason code, since they are made from them."""

import os
import re
import subprocess
import sys

import pytest

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


def test_troubleshooting_has_every_reason_code_once(tmp_path):
    subprocess.run([sys.executable, "docs/build-troubleshooting", str(tmp_path / "t.md")], cwd=ROOT, check=True)
    text = (tmp_path / "t.md").read_text()
    assert "<!--" not in text
    for code in REASONS:
        assert text.count(f"- **{code}** (") == 1, \
            f"docs/troubleshooting.md has no heading with a mark for the codes of {code.partition('.')[0]}"


@pytest.mark.parametrize("name", ["nfs", "smb", "iscsi", "nvme", "fc"])
def test_each_how_to_shows_a_sound_configuration(name):
    from kvmontap.config import parse

    with open(os.path.join(ROOT, f"docs/howto-{name}.md"), encoding="utf-8") as stream:
        shown = stream.read().split("```ini\n", 1)[1].split("```", 1)[0]
    if "cluster =" in shown and "[clusters]" not in shown:
        shown += "[clusters]\n[[kvmcl01]]\n[[[nodes]]]\nkvm01 = 172.21.35.21\n"
    loaded = parse(shown)
    assert [problem for problem in loaded.problems if not problem.note] == [] and len(loaded.config.pools) == 1


def test_the_pages_lead_to_pages_that_there_are():
    for name in [*(f"docs/{one}" for one in os.listdir(os.path.join(ROOT, "docs")) if one.endswith(".md")), "README.md"]:
        with open(os.path.join(ROOT, name), encoding="utf-8") as stream:
            links = re.findall(r"\]\(([^)#]+)[^)]*\)", stream.read())
        for link in links:
            if "://" not in link:
                assert os.path.exists(os.path.join(ROOT, os.path.dirname(name), link)), f"{name} leads to {link}"
