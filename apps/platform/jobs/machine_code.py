"""Machine code that a job would load: only what a compile job of the project has made.

Nothing can check what a compiled library does, and loading it runs it with the rights of the worker. So its origin
decides, not its manifest. The engine loads no library that is no ELF file (deepseek/models/predictor.py), so the first
bytes tell what would be loaded, whatever a manifest says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from apps.core.errors import Invalid, Unavailable
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.states import JobState
from deepseek.messages import N_, Message

ELF = b"\x7fELF"
COMPILE_KIND = "compile"
SLOT = "model"  # of the compile job
MESSAGE = N_("The input {slot} is machine code, and no compile job of this project made it.")
HINT = Message("Compile the trained model here, and give the output of that job; or take its fp32 or int8 form.")
LIMIT = "safetensors, torchscript, or what a compile job of this project made"


def find_foreign_code(slots: Iterable[str], project_id: int, artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """What is wrong with those of `artifacts` (slot -> artifact) that fill `slots`, whose bytes the job would load."""
    return [
        {"code": "foreign_code", "message": Message(MESSAGE, slot=slot), "field": f"/inputs/{slot}/digest"}
        | {"limit": LIMIT, "hint": HINT}
        for slot in slots
        if slot in artifacts
        and read_stored_head(artifacts[slot].digest) == ELF
        and not is_compiled_here(project_id, artifacts[slot].digest)
    ]


def refuse_foreign_code(project_id: int, slot: str, digest: str, path: Path) -> None:
    """Raise Invalid ``foreign_code`` where the bytes at `path`, of that digest, are machine code from elsewhere.

    Whoever runs a job asks this of the bytes themselves, however they came to be its input.
    """
    with path.open("rb") as file:
        head = file.read(len(ELF))
    if head == ELF and not is_compiled_here(project_id, digest):
        raise Invalid(MESSAGE, slot=slot, code="foreign_code", field=f"inputs/{slot}", limit=LIMIT, hint=HINT)


def is_compiled_here(project_id: int, digest: str) -> bool:
    """Whether a compile job of the project that succeeded made these bytes."""
    outputs = JobOutput.objects.filter(artifact=digest, slot=SLOT, job__kind=COMPILE_KIND, job__project=project_id)
    return outputs.filter(job__state=JobState.SUCCEEDED).exists()


def read_stored_head(digest: str) -> bytes:
    """The first bytes of an artifact; none where the store cannot give them now: the worker looks again."""
    try:
        with closing(get_store().open(digest, 0, len(ELF))) as reading:
            return b"".join(reading)[: len(ELF)]
    except (OSError, Unavailable):
        return b""
