"""A nested guest that starts within seconds under double emulation, and obeys the power button.

It is one boot sector: it arms the ACPI power button, writes K to its serial port, sleeps with HLT, and switches the machine off
when the button is pressed, which is what `virsh shutdown` and libvirt-guests do.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

#: Real mode code at 0x7c00. PM1_STS, PM1_EN and PM1_CNT of QEMU's pc and q35 machines are the I/O
#: ports 0x600, 0x602 and 0x604: SeaBIOS puts them there.
_CODE = bytes.fromhex(
    "ba0206"    # mov dx, PM1_EN
    "b80001"    # mov ax, PWRBTN_EN
    "ef"        # out dx, ax
    "baf803"    # mov dx, the first serial port: say that we are up
    "b04b"      # mov al, 'K'
    "ee"        # out dx, al
    "ba0006"    # mov dx, PM1_STS
    "fb"        # sleep: sti
    "f4"        # hlt
    "ed"        # in ax, dx
    "f6c401"    # test ah, PWRBTN_STS >> 8
    "74f8"      # jz sleep
    "ba0406"    # mov dx, PM1_CNT
    "b80020"    # mov ax, SLP_EN (type 0 is soft-off)
    "ef"        # out dx, ax
    "f4ebfd"    # hlt for ever
)
DISK_BYTES = 1 << 20


def disk() -> bytes:
    """Content of the guest's raw disk image, 1 MiB."""
    return (_CODE.ljust(510, b"\0") + b"\x55\xaa").ljust(DISK_BYTES, b"\0")


def serial_log(name: str) -> str:
    """File on the KVM host that holds a K once the guest has booted, and is emptied at its start."""
    return f"/var/log/libvirt/qemu/{name}-serial.log"


def domain_xml(name: str, source: str, pool: str = "", kind: str = "file") -> str:
    """Domain of 32 MiB on one raw disk: `source` is the path of a file or a block device (`kind`), or a volume when `pool` is named."""
    if pool:
        kind, where = "volume", f"<source pool='{escape(pool)}' volume='{escape(source)}'/>"
    else:
        where = f"<source {'dev' if kind == 'block' else 'file'}='{escape(source)}'/>"
    return f"""<domain type='qemu'>
  <name>{escape(name)}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='{kind}' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      {where}
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='{serial_log(name)}'/></serial>
  </devices>
</domain>
"""
