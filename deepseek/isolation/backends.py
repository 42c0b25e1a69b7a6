"""The packet filter of this machine: nftables where it is there, else iptables. Both change all or nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Protocol

from deepseek.isolation import iptables, nftables
from deepseek.isolation.rules import Allowance
from deepseek.job import EngineError
from deepseek.messages import N_

PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
PROGRAM_SECONDS = 20.0

Snapshot = dict[str, Any]
"""What a backend has to know to put back what was there; it is written into the state file as JSON."""


class Backend(Protocol):
    """One packet filter. Every change is one transaction of the kernel."""

    name: str

    def capture(self) -> Snapshot:
        """What is there now."""

    def apply(self, allowances: Sequence[Allowance], *, forwarded: bool, armed_seconds: int = 0) -> None:
        """Put the rules in force, in the place of former ones of ours. `armed_seconds`: see nftables.render_table."""

    def restore(self, snapshot: Snapshot) -> None:
        """Put back what was captured moments ago."""

    def remove(self, origin: Snapshot) -> None:
        """Take our rules away, and leave what others have changed since `origin` was captured."""

    def read_counters(self) -> dict[str, int]:
        """Packets that each refusing rule has counted; empty where no rules of ours are in force."""


class NftBackend:
    """A table of our own: everything else in the packet filter stays as it is."""

    name = "nftables"

    def __init__(self, program: str) -> None:
        self.program = program

    def capture(self) -> Snapshot:
        listing = run_program([self.program, "-s", "list", "table", "inet", nftables.TABLE], is_checked=False)
        return {"table": listing}

    def apply(self, allowances: Sequence[Allowance], *, forwarded: bool, armed_seconds: int = 0) -> None:
        table = nftables.render_table(allowances, forwarded=forwarded, armed_seconds=armed_seconds)
        self._replace(table)

    def restore(self, snapshot: Snapshot) -> None:
        self._replace(str(snapshot["table"]))

    def remove(self, origin: Snapshot) -> None:
        self._replace("")

    def read_counters(self) -> dict[str, int]:
        command = [self.program, "-j", "list", "counters", "table", "inet", nftables.TABLE]
        document = run_program(command, is_checked=False)
        return nftables.read_counters(document) if document else {}

    def _replace(self, table: str) -> None:
        run_program([self.program, "-f", "-"], nftables.replace_table(table))


class IptablesBackend:
    """The filter tables of IPv4 and, where it is there, of IPv6, each replaced as a whole."""

    name = "iptables"

    def __init__(self, programs: dict[int, str]) -> None:
        self.programs = programs

    def capture(self) -> Snapshot:
        return {str(version): self._save(version) for version in self.programs}

    def apply(self, allowances: Sequence[Allowance], *, forwarded: bool, armed_seconds: int = 0) -> None:
        for version in self.programs:
            table = iptables.add_rules(self._save(version), allowances, version, forwarded=forwarded)
            self._load(version, table)

    def restore(self, snapshot: Snapshot) -> None:
        for version in self.programs:
            self._load(version, snapshot[str(version)])

    def remove(self, origin: Snapshot) -> None:
        for version in self.programs:
            policies = iptables.read_policies(origin[str(version)])
            self._load(version, iptables.remove_rules(self._save(version), policies))

    def read_counters(self) -> dict[str, int]:
        counters: dict[str, int] = {}
        for version in self.programs:
            for name, count in iptables.read_counters(self._save(version)).items():
                counters[name] = counters.get(name, 0) + count
        return counters

    def _save(self, version: int) -> str:
        saved = run_program([f"{self.programs[version]}-save", "-c", "-t", "filter"])
        return saved or "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"

    def _load(self, version: int, table: str) -> None:
        run_program([f"{self.programs[version]}-restore", "-c", "-T", "filter"], table)


def find_backend() -> Backend:
    """The packet filter to use. Raises EngineError ``no_packet_filter`` where there is none."""
    nft = shutil.which("nft", path=PATH)
    if nft:
        return NftBackend(nft)
    programs = {version: shutil.which(name, path=PATH) for version, name in iptables.PROGRAMS.items()}
    present = {version: path for version, path in programs.items() if path}
    if 4 not in present:
        raise EngineError(
            "no_packet_filter",
            N_("This machine has neither nft nor iptables."),
            limit="nft, or iptables and ip6tables",
            hint=N_("Install the package nftables. `deepseek isolate render` prints the rules without it."),
        )
    return IptablesBackend(present)


def run_program(command: list[str], text: str = "", *, is_checked: bool = True) -> str:
    """The output of a program. Raises EngineError ``packet_filter_failed`` with what it said, unless not checked."""
    try:
        ended = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=PROGRAM_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise build_program_error(command[0], str(error)) from error
    if ended.returncode == 0:
        return ended.stdout
    if is_checked:
        raise build_program_error(command[0], ended.stderr.strip())
    return ""


def build_program_error(program: str, reason: str) -> EngineError:
    error = EngineError(
        "packet_filter_failed",
        N_("{program} failed: {reason}"),
        program=program.rpartition("/")[2],
        reason=reason[:300] or "no reason given",
        hint=N_("Nothing was changed. Run it as root, in the network namespace of the machine."),
    )
    error.exit_code = 1
    return error
