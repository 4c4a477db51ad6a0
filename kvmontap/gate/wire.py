"""What the hook and kvmontapd say to each other over the Unix socket.  Imports nothing: the hook loads it.

Request: six header lines and an empty one, then the domain XML as libvirt gave it, up to the end of the stream:

    kvmontap 1
    NAME
    OP
    SUBOP
    EXTRA
    SECONDS        the most that the caller waits in all

Reply: any number of lines `wait SECONDS` ("a verdict comes within that time from now"; the first one at once, so that a
caller tells a living daemon from a stopped one without knowing its configuration), then `allow` or `refuse`, then
one sentence for whoever started the VM, to the end of the stream.
"""

MAGIC = "kvmontap 1"
DECIDING = (("prepare", "begin"), ("migrate", "begin"))
LONGEST = 900.0  # seconds: nobody waits longer for anything, whatever the other side says
LARGEST = 16 << 20  # bytes of a request; libvirt itself stops at 10 MiB of XML


class WireError(Exception):
    """The other side does not speak this protocol; the text says what was wrong."""


def request(name, op, subop, extra, seconds, xml):
    """The bytes of a request.  Names are given back byte for byte, also those that are not UTF-8."""
    fields = (MAGIC, name, op, subop, extra, f"{seconds:.3f}")
    if any("\n" in field for field in fields):
        raise WireError("a name with a line break")
    return ("\n".join(fields) + "\n\n").encode("utf-8", "surrogateescape") + xml


def parse_request(data):
    """(name, op, subop, extra, seconds, xml) of a request's bytes."""
    *head, xml = data.split(b"\n", 7)
    lines = [line.decode("utf-8", "surrogateescape") for line in head]
    if len(lines) != 7 or lines[0] != MAGIC or lines[6]:
        raise WireError(f"not a request of {MAGIC!r}")
    return lines[1], lines[2], lines[3], lines[4], seconds_of(lines[5]), xml


def seconds_of(text):
    """A duration between 0 and LONGEST; "nan", "inf" and what is no number raise WireError."""
    try:
        seconds = float(text)
    except ValueError:
        raise WireError(f"{text[:40]!r} is no number of seconds") from None
    if not 0.0 <= seconds < 1e9:
        raise WireError(f"{text[:40]!r} is no number of seconds")
    return min(seconds, LONGEST)


def wait(seconds):
    """The bytes of an announcement: a verdict comes within `seconds`."""
    return f"wait {seconds:.3f}\n".encode()


def reply(allow, sentence):
    """The bytes of a verdict."""
    text = " ".join(sentence.split())
    return (("allow" if allow else "refuse") + "\n" + text).encode("utf-8", "surrogateescape")


def parse_reply(data, ended):
    """(waits, allow, sentence) of what has arrived so far; `ended`: the stream is at its end.

    waits: the seconds of each announcement.  allow: None while the verdict has not arrived in full.
    Raises WireError for what can never become a reply.
    """
    waits = []
    text = data.decode("utf-8", "surrogateescape")
    while True:
        line, newline, rest = text.partition("\n")
        if not newline:
            if len(line) > 40:
                raise WireError("not a reply")
            return waits, None, ""
        if line.startswith("wait "):
            waits.append(seconds_of(line[5:]))
            text = rest
        elif line in ("allow", "refuse"):
            return waits, (line == "allow") if ended else None, rest
        else:
            raise WireError("not a reply")
