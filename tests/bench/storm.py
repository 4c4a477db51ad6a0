"""A boot storm: many VMs start on few volumes, the real hook called as libvirt calls it, the real daemon, the pocket array over HTTPS."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import List

from tests.bench.daemon import Daemon, configuration, daemon, hook
from tests.bench.measure import ROOT, Figure, figure, seconds
from tests.pocket_array import PocketArray

ARRAY = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = {directory}/password
ca = {ca}
"""
VOLUMES = 4
OTHERS = ("start begin -", "started begin -")  # what libvirt calls beside `prepare` when a VM starts


def array() -> PocketArray:
    volumes = [{"name": f"p{number}", "svm": "svm_kvm", "path": f"/p{number}"} for number in range(VOLUMES)]
    return PocketArray({"svms": [{"name": "svm_kvm"}], "volumes": volumes, "users": [{"name": "kvmontap", "password": "secret-1"}]})


def snapshots(made: PocketArray) -> int:
    return sum(len(made.volume(f"p{number}").snapshots) for number in range(VOLUMES))


def configured(made: PocketArray, directory: Path) -> str:
    """The text of a configuration with VOLUMES pools on the array; makes what it names below `directory`.

    With mode = off the mounts are not asked: there is no NFS here, and for a pool whose mount is missing the array is asked anew each time.
    """
    (directory / "password").write_text("secret-1\n")
    (directory / "password").chmod(0o600)
    login = ARRAY.format(address=made.host, directory=directory, ca=made.ca)
    return configuration(directory, VOLUMES, "start", login, "ontap = prod\n", mode="off")


def image(directory: Path, number: int) -> Path:
    return directory / f"p{number % VOLUMES}" / f"vm{number}.img"


def images(directory: Path, vms: int) -> None:
    """They are there before the storm: a snapshot serves the images that it has seen."""
    for number in range(vms):
        image(directory, number).write_bytes(b"\0" * 4096)


def start(package: str, host: Daemon, number: int) -> float:
    """Seconds that libvirt spends in our hook for one start."""
    name = f"vm{number}"
    prepare = hook(package, host.directory, name, number, str(image(host.directory, number)))
    spent = seconds(prepare, host.env)
    for operation in OTHERS:
        spent += seconds(["/bin/sh", f"{ROOT}/hooks/qemu", name, *operation.split()], host.env)
    return spent


def without_us() -> float:
    """Seconds of a start's calls of a hook of one line, in the same order."""
    return sum(seconds(["/bin/sh", "-c", "exit 0"]) for _ in range(1 + len(OTHERS)))


def autostart(package: str, work: Path, vms: int = 200) -> List[Figure]:
    """One VM after another, as libvirt autostarts them."""
    with array() as made, daemon(package, work, configured(made, work)) as host:
        images(work, vms)
        before = made.log.wait_for(1, "GET", seconds=30)[-1].number  # it looks at the array before anybody asks
        spent, peer = [], []
        for number in range(vms):
            spent.append(start(package, host, number))
            peer.append(without_us())
        posts, taken = len(made.log.entries("POST")), snapshots(made)
        calls = made.log.entries()[-1].number - before
    first, later = spent[:VOLUMES], spent[VOLUMES:]
    assert posts == taken, (posts, taken)
    return [
        figure(f"storm, snapshots for {vms} VMs on {VOLUMES} volumes", [taken], "", VOLUMES),
        figure("storm, array calls a VM", [calls / vms], "", 2.0),  # more where it takes longer: what is known is asked anew every 5 s
        figure("storm, start that takes the volume's snapshot", [one * 1000 for one in first], "ms"),
        figure("storm, every further start", [one * 1000 for one in later], "ms"),
        figure("storm, the same with a hook of one line", [one * 1000 for one in peer], "ms"),
    ]


def many_hosts(package: str, work: Path, hosts: int = 16, vms: int = 500, within: float = 60.0) -> List[Figure]:
    """Hosts that boot together against one array: their VMs' starts spread over `within` seconds."""
    with array() as made, ExitStack() as stack:
        running = []
        for number in range(hosts):
            (work / f"host{number}").mkdir()
            conf = configured(made, work / f"host{number}")
            images(work / f"host{number}", vms)
            running.append(stack.enter_context(daemon(package, work / f"host{number}", conf)))
        began = time.monotonic()

        def one(number: int) -> float:
            time.sleep(max(0.0, began + number * within / vms - time.monotonic()))
            return start(package, running[number % hosts], number)  # raises where the hook refuses

        with ThreadPoolExecutor(hosts * 4) as threads:
            spent = list(threads.map(one, range(vms)))
        took, calls, taken = time.monotonic() - began, made.log.entries()[-1].number, snapshots(made)
        failed = [line for host in running for line in host.log().splitlines() if "[array." in line or "snapshot.failed" in line]
    assert not failed, failed[:5]
    return [
        figure(f"storm, {vms} VMs on {hosts} hosts, one array: all started after", [took], "s", within + 15),
        figure("storm, many hosts: array calls a VM", [calls / vms], ""),
        figure(f"storm, many hosts: snapshots on {VOLUMES} volumes", [taken], "", hosts * VOLUMES),
        figure("storm, many hosts: one start", [one * 1000 for one in spent], "ms"),
        figure("storm, many hosts: the longest wait", [max(spent)], "s", 15.0),
    ]
