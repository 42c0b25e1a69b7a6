"""What the machine at hand is, as far as compiled code must fit it. Light to import."""

import platform
from pathlib import Path

ELF_MAGIC = b"\x7fELF"
ELF_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""``e_machine`` of an ELF header (System V ABI, "ELF Header"), by the names that `uname -m` uses."""
_HEADER = 20
_CPUINFO = Path("/proc/cpuinfo")


def get_arch() -> str:
    """The instruction set of this machine: x86_64, aarch64..."""
    return platform.machine()


def read_elf_machine(path: Path) -> str | None:
    """The instruction set that the ELF file at `path` is for; None if it is no ELF file."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    if len(head) < _HEADER or not head.startswith(ELF_MAGIC):
        return None
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return ELF_MACHINES.get(number, f"machine {number}")


def read_cpu_flags() -> frozenset[str]:
    """What the kernel says that this processor can: ``avx2``, ``avx512f``... Empty where it says nothing."""
    try:
        lines = _CPUINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    first = next((line for line in lines if line.split(":")[0].strip() in ("flags", "Features")), ":")
    return frozenset(first.partition(":")[2].split())
