"""Nested guests that start within seconds under double emulation, and obey the power button.

Each is one boot sector: it arms the ACPI power button, writes K to its serial port, sleeps with HLT, and switches the machine off
when the button is pressed, which is what `virsh shutdown` and libvirt-guests do.  One of them also writes a counter to its disk twice a
second: while a write hangs it does nothing else, as a guest that waits for its disk.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from .vm import VM

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
#: The same with a counter in sector 8, written by the BIOS at each tick; woken twice a second by the clock and not 18 times by the timer,
#: which costs a third of an emulated CPU.
_WRITING = bytes.fromhex(
    "31c08ed8"      # xor ax, ax; mov ds, ax
    "ba0206b80001ef"  # arm the power button
    "b80a2fe67088e0e671"  # clock, register A: 2 Hz
    "b00be670b042e671"  # register B: periodic interrupt
    "e4a124fee6a1"  # let the clock's interrupt through
    "e42124fb0c01e621"  # and the second controller's, but not the timer's
    "baf803b04bee"  # K
    "66ff06007e"    # again: inc dword [0x7e00]
    "be547c"        # mov si, the address packet below
    "b80043b280cd13"  # extended write to the first disk: int 0x13, AH = 0x43
    "ba0006fbf4ed"  # mov dx, PM1_STS; sti; hlt; in ax, dx
    "f6c40174e6"    # test ah, PWRBTN_STS >> 8; jz again
    "ba0406b80020ef"  # soft-off
    "f4ebfd"        # hlt for ever
    "10000100007e0000" "0800000000000000"  # one sector from 0:0x7e00 to sector 8
)
COUNTER = 8 * 512  # where in the image
DISK_BYTES = 1 << 20


def disk(writing: bool = False) -> bytes:
    """Content of the guest's raw disk image, 1 MiB."""
    return ((_WRITING if writing else _CODE).ljust(510, b"\0") + b"\x55\xaa").ljust(DISK_BYTES, b"\0")


def written(vm: VM, image: str) -> int:
    """How often the guest on an image has written, by what is on the disk and not in the host's memory."""
    said = vm.run(f"dd if={image} bs=4096 skip={COUNTER // 4096} count=1 iflag=direct status=none | od -A n -t u4 -N 4")
    return int(said.out)


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
