"""The sandbox of one attempt: what its engine can see, reach and become. Entered by the engine's own process.

Standard library only: the shim imports it in the forked child, before the engine, while there is one thread. `enter`
leaves the process as follows, for good and for all that it starts:

- A mount namespace in which everything is read-only but the scratch folder, /tmp and /dev/shm; the plane's home, what
  else `hide` names, /run with its sockets, and all devices but the harmless ones and GPUs are not there.
- A network namespace with a loopback of its own and nothing else. What an attempt may reach beyond it goes through
  `workers/connector.py`, or a link that the shim makes.
- A user of its own where the worker is root and that user can read the interpreter, else the worker's.
- No signal to a process outside of it, where the kernel can keep them in (Landlock, Linux 6.12).
- No capability, none to be had by any program (no_new_privs, an empty bounding set), no core files.
- With `own_processes`, a process namespace: /proc shows the attempt's processes and no others, and a bomb of forks is
  bounded. With `read_only`, folders of the scratch that it cannot write either; with `writable`, folders outside of it
  that it can, though they lie in what is hidden. With `image`, a process beside it that
  waits for a command with the root of an image (workers/images/root.py).

Without root the namespaces come from a user namespace. Any step that fails raises: an attempt never runs with less than
the node has said it gives. `workers/sandbox_trial.py` tries it all when a worker starts.
"""

import _socket  # not socket: its import takes as long as all else that an attempt waits for here
import ctypes
import errno
import fcntl
import os
import re
import resource
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION = 0x20080522
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF, LANDLOCK_VERSION = 444, 446, 1  # system calls, of all processors
SCOPES_VERSION, SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 6, 1, 2

KERNEL_SWITCHES = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi")
"""What root may write in /proc without any capability: read-only in the sandbox."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ACCELERATORS = ("nvidia*", "dri", "kfd", "infiniband")
PROCESSES = 8000  # threads of a user of its own: a bomb of forks ends there
VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.EACCES)  # a mount that another one lies over

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class CannotIsolate(Exception):
    """Why the sandbox could not be entered, in a sentence."""


def enter(plan: dict[str, Any], *, launch: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Enter the sandbox of `plan` (workers/isolation.py); raises CannotIsolate. The process must have one thread.

    `launch` starts what runs beside this process in the same namespaces, while it may still mount (with `image`).
    """
    try:
        if plan["way"] != "none":
            isolate_namespaces(plan)
            if launch is not None and plan.get("image"):
                launch(plan)
        restrict(plan.get("user"), processes=plan.get("processes") or PROCESSES)
        os.chdir(plan["scratch"])  # by its path: the former working folder leads out of the sandbox
    except OSError as failure:
        raise CannotIsolate(f"{failure.filename or 'a step'}: {failure.strerror}") from None


# -- namespaces -----------------------------------------------------------------------------------------------------
def isolate_namespaces(plan: dict[str, Any]) -> None:
    """Namespaces of its own, with what it may see of the files and no network but loopback."""
    user, group = os.geteuid(), os.getegid()
    own_processes = bool(plan.get("own_processes")) and not plan["host_network"]
    flags = CLONE_NEWNS | CLONE_NEWIPC | (0 if plan["host_network"] else CLONE_NEWNET)
    call("unshare", flags | (CLONE_NEWUSER if plan["way"] == "user" else 0))
    if plan["way"] == "user":
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(text)
    if plan.get("link") and not plan["host_network"]:
        await_link(plan["link"])
    if own_processes:
        enter_process_namespace()
    if plan.get("user") is not None:
        for folder in (plan["scratch"], *plan.get("writable", ())):
            grant_folder(Path(folder), plan["user"])
    mount_files(plan)
    if not plan["host_network"]:
        raise_loopback()


def enter_process_namespace() -> None:
    """Return in a process of the new process namespace, with a /proc of its own; the caller's process waits for it.

    Three processes: the caller, which ends as the last one did and takes all with it when it is killed; the first of
    the namespace, which reaps what is orphaned in it; and the one that returns.
    """
    call("unshare", CLONE_NEWPID)  # only now: the next process is the first of it, and nothing can be without that one
    first = os.fork()
    if first:
        end_like(first)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    last = os.fork()
    if last:
        end_like(last)


def end_like(child: int) -> NoReturn:
    """Reap children until `child` has ended, and end with its exit code, or by its signal as shells tell it."""
    restrict(None)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def await_link(link: dict[str, Any]) -> None:
    """Let the shim put the other end of the link in place, then configure this one."""
    from workers import veth_link
    from workers.gangs import link as gang_link

    configure_link = (gang_link if link.get("type") == "gang" else veth_link).configure_link
    ready, go = link["descriptors"]
    os.write(ready, b"1")
    if not os.read(go, 1):
        raise OSError(errno.ENETUNREACH, "it could not be made; the job's log says why", "the link to the peers")
    configure_link(link)
    os.close(ready)
    os.close(go)


def grant_folder(folder: Path, user: int) -> None:
    """The folder and what was staged in it, to the attempt's user."""
    os.chown(folder, user, user)
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(where, name), user, user, follow_symlinks=False)


def mount_files(plan: dict[str, Any]) -> None:
    mount(None, "/", flags=MS_REC | MS_PRIVATE)
    scratch = os.path.realpath(plan["scratch"])
    temporary_path = Path(scratch, "tmp")
    temporary_path.mkdir(exist_ok=True, mode=0o700)
    if plan.get("user") is not None:
        os.chown(temporary_path, plan["user"], plan["user"])
    interpreter_folders = {path: os.open(path, os.O_PATH) for path in plan["keep"] if os.path.exists(path)}
    scratch_folders = {path: os.open(path, os.O_PATH) for path in dict.fromkeys((scratch, plan["scratch"]))}
    writable_folders = {path: os.open(path, os.O_PATH) for path in plan.get("writable", ())}
    temporary = os.open(temporary_path, os.O_PATH)
    devices = open_devices()

    for path, flags in list_mounts():
        if path != "/proc":  # in which a browser writes the maps of its own sandbox
            with skip_vanished():
                remount(path, flags | MS_RDONLY | MS_NOSUID)
    for path in filter(os.path.exists, KERNEL_SWITCHES):
        mount(path, path, flags=MS_BIND | MS_REC)
        remount(path, get_mount_flags(path) | MS_RDONLY | MS_NOSUID)

    umask = os.umask(0o022)
    folders = hide([*plan["hide"], *([] if plan["host_network"] else ["/run"])])
    for path in ("/tmp", "/var/tmp"):  # noqa: S108 - not used, but replaced by a folder of the attempt
        if os.path.isdir(path):
            bind(temporary, path, writable=True)
    folders += mount_devices(devices, plan["memory_bytes"])
    for path, descriptor in interpreter_folders.items():
        if not is_same(path, descriptor):
            os.makedirs(path, exist_ok=True)
            bind(descriptor, path)
    for path, descriptor in scratch_folders.items():
        if path == scratch or not is_same(path, scratch_folders[scratch]):
            os.makedirs(path, exist_ok=True)
            bind(descriptor, path, writable=True)
    for path, descriptor in writable_folders.items():
        if not is_same(path, descriptor):
            os.makedirs(path, exist_ok=True)
        bind(descriptor, path, writable=True)
    for path in plan.get("read_only", ()):
        if os.path.isdir(path):
            mount(path, path, flags=MS_BIND | MS_REC)
            remount(path, get_mount_flags(path) | MS_RDONLY | MS_NOSUID | MS_NODEV)
    for path in folders:
        with skip_vanished():
            remount(path, MS_RDONLY | MS_NOSUID | (0 if path == "/dev" else MS_NODEV))
    os.umask(umask)
    opened = (interpreter_folders, scratch_folders, writable_folders, devices)
    for descriptor in (*(number for group in opened for number in group.values()), temporary):
        os.close(descriptor)


def hide(paths: list[str]) -> list[str]:
    """Cover each path that is there; returns the folders, which are empty now."""
    folders = []
    for path in sorted({os.path.realpath(path) for path in paths}, reverse=True):  # what lies in another one first
        if os.path.isdir(path):
            mount("none", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=1m,nr_inodes=1k")
            folders.append(path)
        elif os.path.exists(path):
            mount("/dev/null", path, flags=MS_BIND)
    return folders


def open_devices() -> dict[str, int]:
    paths = [Path("/dev", name) for name in DEVICES]
    paths += [path for pattern in ACCELERATORS for path in Path("/dev").glob(pattern)]
    return {str(path): os.open(path, os.O_PATH) for path in paths if path.exists()}


def mount_devices(devices: dict[str, int], memory_bytes: int) -> list[str]:
    """A /dev of its own: disks and memory are not in it. Shared memory counts towards what the job may take."""
    mount("none", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m,nr_inodes=1k")
    for path, descriptor in devices.items():
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.mkdir(path)
        else:
            Path(path).touch()
        mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
        remount(path, get_mount_flags(path) & ~MS_RDONLY | MS_NOSUID | MS_NOEXEC)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108 - of the sandbox
    mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={memory_bytes}")  # noqa: S108
    return ["/dev"]


def is_same(path: str, descriptor: int) -> bool:
    """Whether the path still leads to what the descriptor was opened on."""
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def bind(descriptor: int, path: str, *, writable: bool = False) -> None:
    mount(f"/proc/self/fd/{descriptor}", path, flags=MS_BIND | MS_REC)
    if writable:
        remount(path, get_mount_flags(path) & ~MS_RDONLY | MS_NOSUID | MS_NODEV)


def get_mount_flags(path: str) -> int:
    """Flags of the mount at `path`: those that a user namespace may not take away must be repeated."""
    return os.statvfs(path).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def list_mounts() -> list[tuple[str, int]]:
    """Every mount point with its flags, from the kernel's own list: asking a file system that is away would hang."""
    names = {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
    rows = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        path = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), fields[4])
        flags = sum(names.get(option, 0) for option in fields[5].decode().split(","))
        rows.append((os.fsdecode(path), flags))
    return rows


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    if _libc.mount(words[0], words[1], words[2], flags, words[3]):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"mount of {target}")


def remount(path: str, flags: int) -> None:
    mount(None, path, flags=MS_REMOUNT | MS_BIND | flags)


@contextmanager
def skip_vanished() -> Iterator[None]:
    """A mount that another one lies over cannot be reached, by nobody."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in VANISHED:
            raise


def raise_loopback() -> None:
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(
            any_socket.fileno(), SIOCSIFFLAGS, b"lo".ljust(16, b"\0") + IFF_UP.to_bytes(2, sys.byteorder) + bytes(14)
        )
    finally:
        any_socket.close()


# -- rights ---------------------------------------------------------------------------------------------------------
def restrict(user: int | None, *, processes: int = PROCESSES) -> None:
    """Take every right away that this process has or could get."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    drop_bounding_set()
    if user is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # nobody else is this user, and libraries read their own /proc/self
    call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call("capset", (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), nothing)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if can_keep_signals_inside():
        keep_signals_inside()


def can_keep_signals_inside() -> bool:
    """Whether the kernel has Landlock's scopes (Linux 6.12)."""
    return bool(_libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION) >= SCOPES_VERSION)


def keep_signals_inside() -> None:
    """No signal reaches a process that is not of this attempt, even of the same user: the worker's, for instance."""
    ruleset = (ctypes.c_uint64 * 3)(0, 0, SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS)
    descriptor = call("syscall", LANDLOCK_CREATE_RULESET, ruleset, ctypes.sizeof(ruleset), 0)
    call("syscall", LANDLOCK_RESTRICT_SELF, descriptor, 0)
    os.close(descriptor)


def drop_bounding_set() -> None:
    """No program that is started can get a capability. Without the right to do so there is none to be had anyway."""
    for number in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        try:
            call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0)
        except PermissionError:
            return


def call(name: str, *words: Any) -> int:
    result = int(getattr(_libc, name)(*words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result
