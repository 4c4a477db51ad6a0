"""The definition of a second VM: pure."""

import xml.etree.ElementTree as ElementTree

from kvmontap.domain import parse
from kvmontap.domain.copy import Disk, copied, disks

XML = """<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>vm1</name><uuid>6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab</uuid><genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid>
<os><type>hvm</type><nvram template='/usr/share/OVMF/VARS.fd'>/var/lib/libvirt/qemu/nvram/vm1_VARS.fd</nvram></os>
<devices>
<disk type='volume' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source pool='kvmnfs01' volume='vm1.qcow2'>
<privateData/></source>
<backingStore type='file'><format type='raw'/><source file='/mnt/kvmnfs01/base.img'/></backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><source file='/mnt/kvmnfs01/data.img'/><target dev='vdb'/></disk>
<disk type='file' device='cdrom'><source file='/srv/a.iso'/><target dev='sda'/></disk>
<disk type='file' device='disk'><source file='/mnt/x/shared.img'/><target dev='vdc'/><readonly/><shareable/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='vnet0'/></interface>
<channel type='unix'><source mode='bind' path='/run/x'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<graphics type='vnc' port='5901' autoport='yes'/><graphics type='spice' port='5999' autoport='no'/>
</devices><qemu:commandline><qemu:arg value='-s'/></qemu:commandline></domain>"""
UUID = "11111111-2222-3333-4444-555555555555"


def test_disks():
    assert disks(XML) == (
        Disk("vda", "disk", False, False),
        Disk("vdb", "disk", False, False),
        Disk("sda", "cdrom", True, False),
        Disk("vdc", "disk", True, True),
    )


def test_a_copy_has_its_own_identity_and_disks():
    made = copied(XML, "vm2", UUID, {"vda": "/mnt/kvmnfs01/vm2.qcow2"}, ["sda"])
    root = ElementTree.fromstring(made)
    domain = parse(made.encode())
    assert (domain.name, domain.uuid, root.get("id")) == ("vm2", UUID, None)
    # vdb and vdc are in neither list; what lies beneath vda, the image tells.
    assert [(one.what, one.path) for one in domain.sources if one.kind == "file" and "nvram" not in one.what] == [
        ("disk vda", "/mnt/kvmnfs01/vm2.qcow2"), ("cdrom sda", "/srv/a.iso")]  # fmt: skip
    assert root.find("devices/disk").get("type") == "file" and root.find("devices/disk/backingStore") is None
    assert root.find("devices/disk/driver").get("cache") == "none"
    assert root.find("genid").text is None
    assert root.find("devices/interface/mac") is None and root.find("devices/interface/target") is None
    assert root.find("devices/interface/source").get("bridge") == "br0"
    assert "path" not in root.find("devices/channel/source").attrib
    assert [one.get("port") for one in root.findall("devices/graphics")] == [None, "5999"]
    assert root.find("os/nvram").text is None and root.find("os/nvram").get("template")
    assert root.find("{http://libvirt.org/schemas/domain/qemu/1.0}commandline") is not None
    assert "vm1" not in made


def test_firmware_variables_that_came_back():
    assert "/mnt/kvmnfs01/vm2_VARS.fd" in copied(XML, "vm2", UUID, {}, [], "/mnt/kvmnfs01/vm2_VARS.fd")
