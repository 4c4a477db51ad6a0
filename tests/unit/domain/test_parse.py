"""kvmontap.domain.parse: everything that libvirt's XML can name, nothing that is secret, and no harm from bad bytes."""

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap import domain
from kvmontap.domain import tree
from kvmontap.model import Domain, Source

HERE = os.path.dirname(os.path.abspath(__file__))


def everything():
    with open(os.path.join(HERE, "everything.xml"), "rb") as stream:
        return stream.read()


def disk(inner, attributes="type='file' device='disk'"):
    return f"<domain><name>vm</name><devices><disk {attributes}>{inner}</disk></devices></domain>".encode()


def test_every_kind_of_storage_is_found():
    found = domain.parse(everything())
    assert (found.name, found.uuid) == ("everything", "8a1e0f6e-6c5b-4a55-9d4a-0d2e0b9b7a11")
    assert [(one.kind, one.what, one.path or (one.pool, one.volume) if one.kind != "network" else one.name)
            for one in found.sources] == [
        ("file", "sysinfo entry opt/com.example/x", "/files/fwcfg"),
        ("file", "loader", "/files/loader.fd"),
        ("file", "nvram", "/files/nvram.fd"),
        ("file", "nvram template", "/files/nvram-template.fd"),
        ("file", "kernel", "/files/kernel"),
        ("file", "initrd", "/files/initrd"),
        ("file", "shim", "/files/shim.efi"),
        ("file", "dtb", "/files/board.dtb"),
        ("file", "acpi table", "/files/slic.dat"),
        ("file", "emulator", "/usr/bin/qemu-system-x86_64"),
        ("block", "data file of disk vda", "/dev/vg/data"),
        ("file", "disk vda", "/disks/top.qcow2"),
        ("file", "backing of disk vda", "/disks/middle.qcow2"),
        ("volume", "backing of disk vda", ("golden", "base.raw")),
        ("block", "lun sda", "/dev/mapper/lun"),
        ("dir", "floppy fda", "/disks/floppy"),
        ("network", "disk vdb", "images/x.img"),
        ("network", "disk vdc", "iqn.2001-04.com.example:t/1"),
        ("volume", "disk vdd", ("kvmnfs01", "vm.qcow2")),
        ("nvme", "disk vde", ("", "")),
        ("other", "disk vdf", "/run/vhost.sock"),
        ("other", "disk vdg", "/dev/vhost-vdpa-0"),
        ("file", "cdrom sdb", "/disks/cd.iso"),
        ("file", "disk vdh", "/disks/untyped.img"),
        ("dir", "filesystem plain", "/shares/plain"),
        ("other", "filesystem external", "/run/virtiofsd.sock"),
        ("file", "filesystem /image", "/shares/image.fs"),
        ("volume", "filesystem /v1", ("shares", "v1")),
        ("file", "rom of interface", "/files/nic.rom"),
        ("file", "serial", "/logs/serial.txt"),
        ("file", "log of serial", "/logs/serial.log"),
        ("dir", "smartcard database", "/files/nssdb"),
        ("dir", "tpm", "/tpm/state"),
        ("network", "hostdev", "iqn.x/2"),
        ("file", "rom of hostdev", "/files/gpu.rom"),
        ("file", "lease", "/leases/vm"),
        ("file", "nvdimm", "/nvdimm/file"),
        ("file", "pstore", "/files/pstore"),
        ("file", "audio", "/logs/audio.wav"),
    ]
    by_what = {one.what: one for one in found.sources}
    assert by_what["disk vdc"].hosts == ("fd00::1", "/run/x")
    assert by_what["disk vdb"].protocol == "https"
    assert by_what["disk vde"].name == "0000:01:00.0 namespace 1"
    assert (by_what["disk vda"].format, by_what["disk vda"].chained) == ("qcow2", True)
    assert (by_what["disk vdd"].format, by_what["disk vdd"].chained) == ("qcow2", False)
    assert [one.what for one in found.sources if one.optional] == ["cdrom sdb"]


def test_no_secret_is_kept_anywhere():
    xml = everything()
    assert xml.count(b"SECRET-") == 12  # the document holds them, or the next lines prove nothing
    assert "SECRET" not in repr(domain.parse(xml))
    kept = []

    def walk(node):
        kept.extend([node.tag, node.text, *node.attributes.values()])
        for child in node.children:
            walk(child)

    walk(tree.read(xml, domain.sources.SHAPE))
    assert not [text for text in kept if "SECRET" in text]


@pytest.mark.parametrize(
    "inner, path",
    [
        ("<nvram type='file'><source file='/n/new.fd'/></nvram>", "/n/new.fd"),
        ("<nvram type='block'><source dev='/dev/n'/></nvram>", "/dev/n"),
        ("<varstore template='/t' path='/n/vars.json'/>", "/n/vars.json"),
    ],
)
def test_the_newer_ways_to_tell_nvram(inner, path):
    found = domain.parse(f"<domain><name>vm</name><os>{inner}</os></domain>".encode())
    assert found.sources[0].path == path


def test_an_emulated_tpm_without_a_source_has_libvirts_directory():
    found = domain.parse(
        b"<domain><uuid>u-1</uuid><name>vm</name><devices><tpm><backend type='emulator'/></tpm></devices></domain>"
    )
    assert found.sources == (Source("dir", "tpm", path="/var/lib/libvirt/swtpm/u-1"),)


def test_the_whole_chain_of_200_images_is_found():
    inner = "<source file='/c/0'/><target dev='vda'/>"
    chain = ""
    for level in range(200, 0, -1):
        chain = f"<backingStore type='file'><format type='qcow2'/><source file='/c/{level}'/>{chain}</backingStore>"
    assert [one.path for one in domain.parse(disk(inner + chain)).sources] == [f"/c/{n}" for n in range(201)]


def test_a_domain_of_a_thousand_disks_is_read_within_a_hook_s_patience():
    one = "<disk type='file'><driver type='qcow2'/><source file='/d/%d'/><target dev='vd%d'/></disk>"
    xml = ("<domain><name>vm</name><devices>" + "".join(one % (n, n) for n in range(1000)) + "</devices></domain>").encode()
    started = time.process_time()
    assert len(domain.parse(xml).sources) == 1000
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "xml, said",
    [
        (b"", "not well-formed XML (no element found, line 1)"),
        (b"\n<domain><name>x</domain>", "not well-formed XML (mismatched tag, line 2)"),
        (b"<domain><name>x</name></domain><domain/>", "junk after document element"),
        (b"\xff\xfe\x00", "not well-formed XML"),
        (b"<domain><name>\xe9</name></domain>", "invalid token"),
        (b"<?xml version='1.0' encoding='klingon'?><domain/>", "its encoding is not one that libvirt writes"),
        (b"<?xml version='1.0' encoding='utf-7'?><domain/>", "encoding"),
        (b"\x7fELF" + bytes(500), "not well-formed XML"),
        (b"<pool><name>x</name></pool>", "it does not start with <domain>"),
        (b"<domain/>", "it names no domain"),
        (b"<domain><name> </name></domain>", "it names no domain"),
        (b"<domain>" + b"<a>" * 600 + b"</a>" * 600 + b"</domain>", "nested more than 512 deep"),
        (b"<domain>" + b" " * tree.LARGEST + b"</domain>", "larger than 8 MiB"),
        (b"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain><name>x</name></domain>", "document type"),
        (b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name></domain>", "document type"),
        (b"<!DOCTYPE d [<!ENTITY % x SYSTEM 'http://127.0.0.1:1/'>%x;]><domain/>", "document type"),
        (b"<domain><name>&undefined;</name></domain>", "undefined entity"),
    ],
)
def test_bytes_that_are_no_domain_give_one_clear_clause(xml, said):
    with pytest.raises(domain.DomainError) as raised:
        domain.parse(xml)
    text = str(raised.value)
    assert said in text and text.isprintable() and len(text) < 200


@pytest.mark.parametrize("levels", [3, 30])
def test_an_entity_bomb_costs_nothing(levels):
    entities = "<!ENTITY e0 'ha'>" + "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, levels))
    started = time.process_time()
    with pytest.raises(domain.DomainError, match="document type"):
        domain.parse(f"<!DOCTYPE d [{entities}]><domain><name>&e{levels - 1};</name></domain>".encode())
    assert time.process_time() - started < 0.2


def test_names_in_what_it_is_for_fit_one_line():
    found = domain.parse(disk("<source file='/x'/><target dev='v&#10;da&#9;\u202e'/>"))
    assert found.sources[0].what == "disk v?da??"


def test_the_import_stays_small():
    """It is on the path of the hook without a daemon."""
    script = "import sys; import kvmontap.domain; print(*sorted(m for m in sys.modules if not m.startswith('_')))"
    loaded = subprocess.run([sys.executable, "-S", "-c", script], cwd=os.path.join(HERE, "../../.."), check=True,
                            capture_output=True, text=True).stdout.split()
    assert not {"json", "logging", "dataclasses", "socket", "xml.etree", "asyncio", "subprocess"}.intersection(loaded)


# Fuzzing: pieces of real documents put together at random, cut, and damaged.
TAGS = st.sampled_from(
    "domain name uuid os loader nvram kernel devices disk source target backingStore dataStore format driver host"
    " filesystem tpm backend serial log memory path hostdev mirror lease x".split()
)
VALUES = st.one_of(st.sampled_from(["/a/b", "file", "volume", "", "nfs", "..", "&amp;"]), st.text(max_size=8).map(
    lambda text: "".join(letter for letter in text if letter.isprintable() and letter not in "<>&'")))
ATTRIBUTES = st.dictionaries(
    st.sampled_from("type file dev dir path pool volume protocol name socket template startupPolicy".split()), VALUES, max_size=4
)


@st.composite
def element(draw, depth=0):
    tag = draw(TAGS)
    attributes = "".join(f" {name}='{value}'" for name, value in draw(ATTRIBUTES).items())
    inner = draw(VALUES)
    if depth < 5:
        inner += "".join(draw(st.lists(element(depth=depth + 1), max_size=3)))
    return f"<{tag}{attributes}>{inner}</{tag}>"


def reads_or_says(xml):
    try:
        found = domain.parse(xml)
    except domain.DomainError as error:
        assert str(error).isprintable()
        return
    assert isinstance(found, Domain) and found.name
    for source in found.sources:
        assert source.kind in ("file", "block", "dir", "network", "volume", "nvme", "other")
        assert source.what.isprintable()


@settings(max_examples=300, deadline=None)
@given(st.lists(element(), max_size=4))
def test_any_well_formed_domain_is_read(parts):
    reads_or_says(("<domain><name>vm</name>" + "".join(parts) + "</domain>").encode())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_documents_are_read_or_refused(data):
    xml = bytearray(everything())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(xml) - 1))
        if data.draw(st.booleans()):
            xml[place] = data.draw(st.integers(0, 255))
        else:
            del xml[place : place + data.draw(st.integers(1, 400))]
    reads_or_says(bytes(xml))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(xml):
    reads_or_says(xml)
