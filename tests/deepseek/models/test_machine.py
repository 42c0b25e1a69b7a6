"""What this machine is, and for which one a library is."""

import platform
import sys
from pathlib import Path

import pytest

from deepseek.models import machine


def header(number, order="little"):
    return b"\x7fELF\x02" + bytes([1 if order == "little" else 2]) + bytes(12) + number.to_bytes(2, order)


def test_this_interpreter_is_for_this_machine():
    assert machine.read_elf_machine(Path(sys.executable).resolve()) == machine.get_arch() == platform.machine()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (header(183), "aarch64"),
        (header(62), "x86_64"),
        (header(62, "big"), "x86_64"),
        (header(4711), "machine 4711"),
        (header(62)[:19], None),
        (b"", None),
        (b"MZ" + bytes(100), None),
    ],
)
def test_the_machine_of_a_library(tmp_path, content, name):
    (tmp_path / "lib").write_bytes(content)
    assert machine.read_elf_machine(tmp_path / "lib") == name


def test_flags(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", info)
    info.write_text("processor\t: 0\nvmx flags\t: vnmi\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert machine.read_cpu_flags() == {"fpu", "avx2"}
    info.write_text("Features\t: fp asimd\n")
    assert machine.read_cpu_flags() == {"fp", "asimd"}
    info.unlink()
    assert machine.read_cpu_flags() == frozenset()
