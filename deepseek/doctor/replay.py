"""Captured trees: what the checks read of a machine, as small text files, replayed anywhere.

TREE/root/proc/cpuinfo ...   files by their path
TREE/commands/NAME.txt       `$ command`, `exit N`, then what it printed; the name of the file does not matter
TREE/environment.json        the environment variables that checks read
TREE/registered.json         the node as the plane lists it; may be absent
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepseek.doctor.findings import Unmeasured
from deepseek.doctor.host import MISSING_PROGRAM, Host, Output, Source

VARIABLES = re.compile(r"(OMP|MKL|OPENBLAS|PIP|UV|HF|TRANSFORMERS|RAY|WANDB|MLFLOW|DO_NOT|NCCL|GLOO|CUDA|NVIDIA)\w*")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY")
OTHERS = ("LD_LIBRARY_PATH", "VIRTUAL_ENV", "PLANE_HOME", "TMPDIR", "OTEL_SDK_DISABLED", "DEEPSEEK_URL")


class CapturedSource:
    """A captured tree, with changes over it: path or `$ command` -> text, or None where it is gone."""

    def __init__(self, tree: Path, changes: Mapping[str, str | None] | None = None) -> None:
        self.root = tree / "root"
        self.changes = dict(changes or {})
        self.outputs = dict(read_commands(tree))
        for name, text in self.changes.items():
            if name.startswith("$ "):
                self.outputs.pop(name[2:], None)
                if text is not None:
                    self.outputs[name[2:]] = parse_command_file(f"{name}\n{text}")[1]

    def read_bytes(self, path: str) -> bytes | None:
        if path in self.changes:
            text = self.changes[path]
            return None if text is None else text.encode()
        file = self.root / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def list_names(self, path: str) -> list[str]:
        folder, prefix = self.root / path.strip("/"), f"{path.rstrip('/')}/"
        names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        for changed, text in self.changes.items():
            if changed.startswith(prefix):
                name, _, rest = changed[len(prefix) :].partition("/")
                if text is not None:
                    names.add(name)
                elif not rest:
                    names.discard(name)
        return sorted(names)

    def run(self, words: Sequence[str], seconds: float) -> Output:
        output = self.outputs.get(" ".join(words))
        if output is None:
            return Output(MISSING_PROGRAM, "", "not captured")
        if output.code == 124:
            raise Unmeasured(f"{' '.join(words)} did not answer within {seconds:g} s.")
        return output


@lru_cache(maxsize=8)
def read_commands(tree: Path) -> Mapping[str, Output]:
    """Every captured command of a tree with what it answered."""
    files = sorted((tree / "commands").glob("*.txt"))
    return dict(parse_command_file(path.read_text(encoding="utf-8")) for path in files)


def parse_command_file(text: str) -> tuple[str, Output]:
    """The command, and what it answered."""
    command, _, rest = text.partition("\n")
    status, _, stdout = rest.partition("\n")
    if not command.startswith("$ ") or not re.fullmatch(r"exit \d{1,3}", status):
        raise ValueError("a captured command begins with `$ command` and `exit N`")
    return command[2:], Output(int(status[5:]), stdout)


def open_captured(
    tree: Path,
    changes: Mapping[str, str | None] | None = None,
    environment: Mapping[str, str] | None = None,
    registered: Mapping[str, Any] | None = None,
) -> Host:
    """The machine of a captured tree; `environment` and `registered` go over what the tree holds."""
    variables = {**read_json(tree / "environment.json"), **(environment or {})}
    return Host(
        CapturedSource(tree, changes),
        environment={name: value for name, value in variables.items() if value is not None},
        registered={**read_json(tree / "registered.json"), **(registered or {})},
        plane_url=str(variables.get("DEEPSEEK_URL") or ""),
    )


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


class RecordingSource:
    """Another source, of which everything that is read is written into a tree."""

    def __init__(self, source: Source, tree: Path) -> None:
        self.source, self.tree = source, tree

    def read_bytes(self, path: str) -> bytes | None:
        content = self.source.read_bytes(path)
        if content is not None and path != "/etc/shadow":  # the one secret that a check reads
            file = self.tree / "root" / path.lstrip("/")
            self.make_folder(file.parent)
            if not file.is_dir():
                file.write_bytes(content)
        return content

    def make_folder(self, folder: Path) -> None:
        """Make the folder and those above it; what a listing named before, and took for a file, becomes a folder."""
        for each in (*reversed(folder.relative_to(self.tree).parents), folder.relative_to(self.tree)):
            at = self.tree / each
            if at.is_file():
                at.unlink()
            at.mkdir(exist_ok=True)

    def list_names(self, path: str) -> list[str]:
        names = self.source.list_names(path)
        folder = self.tree / "root" / path.strip("/")
        self.make_folder(folder)
        for name in names:
            if not (folder / name).exists():
                (folder / name).touch()
        return names

    def run(self, words: Sequence[str], seconds: float) -> Output:
        command = " ".join(words)
        folder = self.tree / "commands"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', command).strip('-')[:80]}.txt"
        try:
            output = self.source.run(words, seconds)
        except Unmeasured:
            file.write_text(f"$ {command}\nexit 124\n", encoding="utf-8")
            raise
        if not output.is_missing:
            file.write_text(f"$ {command}\nexit {output.code}\n{output.stdout}", encoding="utf-8")
        return output


def select_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that checks read; nothing that may be a secret."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if (VARIABLES.fullmatch(name) or name in PROXIES or name in OTHERS)
        and not re.search(r"TOKEN|KEY|SECRET|PASSWORD", name)
    }
