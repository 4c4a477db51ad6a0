"""A file system in user space that answers, lies, errs or falls silent on command: real hangs, in the real kernel.

Speaks the FUSE protocol (7.31) on /dev/fuse itself, so that no library decides what is answered.  A process that waits for
an answer the server has read cannot be killed: just what a dead NFS server does to a hard mount, or worse.

argv: the mount point.  stdin: one command a line, each answered on stdout with one line:
  space BSIZE BLOCKS AVAILABLE INODES INODES_FREE | silent | answer | error ERRNO (for statfs; 0 = none) | count (of statfs seen)
End of stdin: unmount and end, whereby the kernel lets everybody go.
"""

import ctypes
import os
import select
import struct
import sys

GETATTR, STATFS, INIT, INTERRUPT, DESTROY = 3, 17, 26, 36, 38
NO_REPLY = (2, INTERRUPT, 42)  # FORGET, BATCH_FORGET
ENOSYS = 38
LIBC = ctypes.CDLL(None, use_errno=True)


class Server:
    def __init__(self, target):
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"silent", os.fsencode(target), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount")
        self.space = (4096, 1000, 900, 100, 90)
        self.silent = False
        self.errno = 0
        self.kept = []  # requests that wait for an answer
        self.seen = 0

    def request(self):
        data = os.read(self.device, 1 << 20)
        _, opcode, unique = struct.unpack_from("<IIQ", data)
        if opcode == STATFS:
            self.seen += 1
        if opcode in NO_REPLY:
            return
        if self.silent and opcode in (STATFS, GETATTR):
            self.kept.append((opcode, unique))
        else:
            self.reply(opcode, unique)

    def reply(self, opcode, unique):
        error, body = 0, b""
        if opcode == INIT:
            body = struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 12, 10, 65536, 1, 0, 0, 0)
        elif opcode == GETATTR:
            # No validity: the kernel has to ask again each time.
            body = struct.pack("<QII6Q3I7I", 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
        elif opcode == STATFS and not self.errno:
            size, blocks, available, inodes, inodes_free = self.space
            body = struct.pack("<5Q4I24x", blocks, available, available, inodes, inodes_free, size, 255, size, 0)
        elif opcode == STATFS:
            error = self.errno
        elif opcode != DESTROY:
            error = ENOSYS
        try:
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)
        except FileNotFoundError:  # who asked has been interrupted meanwhile
            pass

    def command(self, line):
        word, *arguments = line.split()
        if word == "space":
            self.space = tuple(int(one) for one in arguments)
        elif word == "silent":
            self.silent = True
        elif word == "answer":
            self.silent = False
            for request in self.kept:
                self.reply(*request)
            self.kept = []
        elif word == "error":
            self.errno = int(arguments[0])
        return str(self.seen)


def main(target):
    server = Server(target)
    poll = select.poll()
    poll.register(server.device, select.POLLIN)
    poll.register(0, select.POLLIN)
    print("mounted", flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == server.device:
                server.request()
                continue
            line = sys.stdin.readline()
            if not line:
                LIBC.umount2(os.fsencode(target), 2)  # MNT_DETACH; closing the device releases whoever waits
                return
            print(server.command(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
