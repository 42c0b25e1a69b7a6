"""The launcher: a process of an attempt whose root is that of an image, and which becomes the script.

`workers/sandbox.py` forks it once the sandbox is made, while it may still mount. Its root is a small file system with
each entry of the image mounted into it, read-only, and the sandbox's own /proc, /sys, /dev and /tmp; the job's folder
is at `job_folder`. The old root is taken away (pivot_root); below Linux 6.12, without Landlock's scopes, the script may
still reach that of the sandbox by /proc/ENGINE/root, as the engine is of the same user, and see there what a script
without an image sees. Then the launcher gives up all rights as the engine does, and waits for the command: the engine,
which stays outside, has none of this to do, and needs no right of its own. Standard library only; everything is
imported before the root changes.
"""

import json
import os
import signal
import stat
import traceback
import warnings  # noqa: F401 - os.execvpe imports it, which it could not do in the image
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.script.image import DRIVER_FOLDER, LAUNCHER
from workers import sandbox

OWN_ENTRIES = ("proc", "sys", "dev")
"""Of the sandbox; what the image has under these names is not seen."""
DRIVER_DEVICE = "/dev/nvidiactl"
DRIVER_LIBRARIES = ("libcuda.so*", "libcudadebugger.so*", "libnvidia-*.so*")
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
MNT_DETACH = 2
READY = b"1"


def start_launcher(plan: dict[str, Any]) -> None:
    """Fork the launcher and name it in the environment. Raises OSError if its root cannot be made."""
    taking, command = os.pipe()
    failure, telling = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(command)
            os.close(failure)
            become_script(plan, parent, taking, telling)
        except BaseException:  # noqa: BLE001 - this process ends here: the job's log says why
            traceback.print_exc()
        finally:
            os._exit(127)
    os.close(taking)
    os.close(telling)
    answer = os.read(failure, 4096)
    if answer != READY:
        raise OSError(0, answer.decode(errors="replace") or "its process ended", "the root of the image")
    os.environ[LAUNCHER] = f"{pid}:{command}:{failure}"


def become_script(plan: dict[str, Any], parent: int, taking: int, telling: int) -> None:
    """Enter the root, wait for the command and run it in the place of this process."""
    try:
        enter_root(plan["image"]["root"], plan["image"]["job_folder"], plan["scratch"])
        sandbox.restrict(plan.get("user"), processes=plan.get("processes") or sandbox.PROCESSES)
        sandbox.call("prctl", sandbox.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return
        close_others(taking, telling)
    except OSError as failure:
        os.write(telling, f"{failure.filename or 'a step'}: {failure.strerror}"[:4000].encode(errors="replace"))
        return
    os.write(telling, READY)
    request = b""
    while data := os.read(taking, 65536):
        request += data
    if not request:
        return  # the engine has ended without a command
    order = json.loads(request)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(order["folder"])
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.execvpe(order["command"][0], order["command"], order["environment"])  # noqa: S606 - its purpose
    except OSError as failure:
        os.write(telling, str(failure.errno).encode())


def enter_root(image: str, job_folder: str, scratch: str) -> None:
    """Make the root in a mount namespace of its own and go there, for good."""
    sandbox.call("unshare", sandbox.CLONE_NEWNS)
    sandbox.mount(None, "/", flags=sandbox.MS_REC | sandbox.MS_PRIVATE)
    entries = os.open(image, os.O_PATH | os.O_DIRECTORY)
    own = {f"/{name}": os.open(f"/{name}", os.O_PATH) for name in OWN_ENTRIES if os.path.isdir(f"/{name}")}
    own["/tmp"] = os.open(os.path.join(scratch, "tmp"), os.O_PATH)  # noqa: S108 - the attempt's
    own[job_folder] = os.open(os.path.realpath(scratch), os.O_PATH)
    hosts = os.open("/etc/hosts", os.O_PATH) if os.path.isfile("/etc/hosts") else -1

    new = image  # covered by the new root: any folder would do
    sandbox.mount("none", new, "tmpfs", sandbox.MS_NOSUID | sandbox.MS_NODEV, "mode=0755,size=1m,nr_inodes=1k")
    for name in os.listdir(f"/proc/self/fd/{entries}"):
        if f"/{name}" not in (*own, DRIVER_FOLDER):
            add_entry(f"/proc/self/fd/{entries}/{name}", f"{new}/{name}")
    for path, descriptor in own.items():
        os.mkdir(new + path, 0o755)
        bind(descriptor, new + path)
    if os.path.exists(DRIVER_DEVICE):
        add_driver(new + DRIVER_FOLDER)
    if is_plain(new, "var", "tmp", stat.S_ISDIR):
        bind(own["/tmp"], f"{new}/var/tmp")  # noqa: S108
    if hosts >= 0 and is_plain(new, "etc", "hosts", stat.S_ISREG):  # an image has none of its own: localhost
        bind(hosts, f"{new}/etc/hosts")
    sandbox.remount(new, sandbox.MS_RDONLY | sandbox.MS_NOSUID | sandbox.MS_NODEV)
    for descriptor in (entries, hosts, *own.values()):
        if descriptor >= 0:
            os.close(descriptor)

    os.chdir(new)
    sandbox.call("pivot_root", b".", b".")
    sandbox.call("umount2", b".", MNT_DETACH)  # the old root, which lies over the new one
    os.chdir("/")


def add_entry(source: str, target: str) -> None:
    """One entry of the image's root, at its place in the new one."""
    mode = os.lstat(source).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(target, 0o755)
    elif stat.S_ISREG(mode):
        Path(target).touch(0o644)
    else:
        return
    bind_read_only(source, target)


def add_driver(folder: str) -> None:
    """The driver's libraries of the node, under all their names, in a folder that the script searches first."""
    os.mkdir(folder, 0o755)
    for pattern in DRIVER_LIBRARIES:
        for source in (path for parent in LIBRARY_FOLDERS for path in Path(parent).glob(pattern)):
            target = Path(folder, source.name)
            if source.is_file() and not target.exists():
                target.touch(0o644)
                bind_read_only(os.path.realpath(source), str(target))


def bind_read_only(source: str, target: str) -> None:
    sandbox.mount(source, target, flags=sandbox.MS_BIND)
    flags = sandbox.MS_RDONLY | sandbox.MS_NOSUID | sandbox.MS_NODEV
    sandbox.remount(target, sandbox.get_mount_flags(target) | flags)


def bind(descriptor: int, target: str) -> None:
    """With the flags that it has in the sandbox."""
    sandbox.mount(f"/proc/self/fd/{descriptor}", target, flags=sandbox.MS_BIND | sandbox.MS_REC)


def is_plain(root: str, folder: str, name: str, is_kind: Any) -> bool:
    """Whether both are there and neither is a link: a mount would follow one out of the root."""
    try:
        return stat.S_ISDIR(os.lstat(f"{root}/{folder}").st_mode) and is_kind(
            os.lstat(f"{root}/{folder}/{name}").st_mode
        )
    except OSError:
        return False


def close_others(*kept: int) -> None:
    """Close every descriptor but the standard ones and `kept`: the engine's pipes are no business of the script."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):  # that of the listing itself
                os.close(int(name))
