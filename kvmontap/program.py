"""Programs of other packages, run with a deadline and never with a secret in their arguments.  Standard library only."""

import os
import signal
import subprocess
from typing import NamedTuple, Sequence

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Done(NamedTuple):
    code: int  # 127 = the program is not there, 124 = it did not end in time
    out: str
    err: str

    @property
    def why(self) -> str:
        """The last line of what it said: one clause."""
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with status {self.code} and gave no reason"


def call(words: Sequence[str], timeout: float, answers: str = "") -> Done:
    """What a program said, with `answers` on its standard input.

    One that does not end in `timeout` seconds is killed, and left behind where even that hangs."""
    # Files and not pipes: a process that cannot die would hold a pipe open, and us with it.
    with open(os.memfd_create("in"), "w+b") as given, open(os.memfd_create("out"), "w+b") as out, \
            open(os.memfd_create("err"), "w+b") as err:
        given.write(answers.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(words, stdin=given, stdout=out, stderr=err, start_new_session=True,
                                       env={"PATH": PATH, "LC_ALL": "C"})
        except OSError as error:
            return Done(127, "", f"{words[0]} cannot be run: {error.strerror}")
        late = ""
        for number, patience in ((None, max(0.5, timeout)), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            if number is not None:
                process.send_signal(number)
                late = f"{words[0]} did not end within {timeout:.0f} s"
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        if late:
            return Done(124, texts[0], f"{texts[1]}\n{late}")
        return Done(process.returncode, *texts)
