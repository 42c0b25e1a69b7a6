"""What `deepseek run` asks for: a script, its code folder, its data and what it takes of a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.client.errors import ClientError
from deepseek.client.packing import IGNORE_FILE, CodeFolder, scan_code_folder
from deepseek.client.references import VersionReference, parse_reference

PROGRAMS = {".py": "python", ".sh": "sh"}


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """One `script` job. `processes` is per node; None leaves a need to the kind."""

    script: Path
    args: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    name: str = ""
    nodes: int = 1
    processes: int = 1
    gpus: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    outputs: tuple[str, ...] = ()
    environment: str = ""
    table: str = ""
    register: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """The code folder; None: the folder of the script."""

    @property
    def root(self) -> Path:
        return (self.folder or self.script.parent).resolve()

    @property
    def path(self) -> str:
        """The script below the code folder."""
        return self.script.resolve().relative_to(self.root).as_posix()

    def scan(self) -> CodeFolder:
        """Check the script and list its code. Raises ClientError."""
        if not self.script.is_file():
            raise ClientError(
                "no_script",
                f"There is no script {self.script}.",
                field="SCRIPT",
                value=str(self.script),
                limit="a file, .py or .sh",
                hint="Check the path; it counts from the folder that you are in.",
            )
        if self.script.suffix not in PROGRAMS:
            raise ClientError(
                "bad_script",
                f"{self.script.name} is neither a Python nor a shell script.",
                field="SCRIPT",
                value=str(self.script),
                limit=", ".join(PROGRAMS),
                hint="Name the .py or .sh file that starts the work.",
            )
        if self.script.suffix != ".py" and (self.processes > 1 or self.nodes > 1):
            raise ClientError(
                "bad_script",
                "Several processes or nodes need a Python script: torch.distributed.run starts them.",
                field="--processes" if self.processes > 1 else "--nodes",
                value=str(self.processes if self.processes > 1 else self.nodes),
                limit=1,
                hint="Name a .py file, or leave --processes and --nodes out.",
            )
        self.list_references()
        if not self.script.resolve().is_relative_to(self.root):
            raise ClientError(
                "bad_script",
                f"{self.script} does not lie in the code folder.",
                field="--folder",
                value=str(self.root),
                limit="a folder that the script lies in",
                hint="Name another folder, or leave --folder out.",
            )
        code = scan_code_folder(self.root)
        if self.path not in code.files:
            raise ClientError(
                "bad_script",
                f"{self.path} is left out of the code by a rule of .gitignore or {IGNORE_FILE}.",
                field="SCRIPT",
                value=str(self.script),
                hint="Change the rule, or git add the script.",
            )
        return code

    def list_references(self) -> list[VersionReference]:
        return [parse_reference(text, "--data", "deepseek data ls") for text in self.data]

    def build_body(self, code_digest: str) -> dict[str, Any]:
        """The body of POST jobs; `code_digest` is that of the zip."""
        needs = {"gpus": self.gpus, "cpus": self.cpus, "memory_bytes": self.memory_bytes}
        needs |= {"nodes": self.nodes if self.nodes > 1 else None}
        body: dict[str, Any] = {
            "kind": "script",
            "name": self.name or self.script.stem,
            "spec": {
                "command": [PROGRAMS[self.script.suffix], self.path, *self.args],
                "processes": self.processes,
                "data": [str(reference) for reference in self.list_references()],
                "outputs": list(self.outputs),
                "environment": self.environment,
            },
            "inputs": {"code": {"digest": code_digest}},
        }
        if self.table:
            body["spec"]["table"] = self.table
        if self.register:
            body["register"] = dict(self.register)
        if own_needs := {name: value for name, value in needs.items() if value is not None}:
            body["needs"] = own_needs
        return body
