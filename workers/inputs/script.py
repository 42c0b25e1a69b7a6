"""The folders that a script finds: its code, unpacked, and its data, each file under its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from apps.core.errors import PlaneError
from deepseek.job import EngineError
from deepseek.script.archive import unpack_code
from deepseek.script.run import DATA
from deepseek.script.spec import CODE
from workers.inputs.folders import move_input


def arrange_inputs(folder: Path, staged: Mapping[str, str]) -> dict[str, str]:
    """Unpack the code and move every other input to its path below the data folder; returns slot -> path.

    `folder`: that of the staged inputs. It is read-only in the sandbox, so this comes before. Raises PlaneError for an
    archive that is none, and for a slot that is no path.
    """
    code, data = folder / CODE, folder / DATA
    data.mkdir(mode=0o755)
    if CODE in staged:
        try:
            unpack_code(Path(staged[CODE]), code)
        except EngineError as error:
            raise PlaneError(
                error.message, code=error.code, field=error.field, limit=error.limit, hint=error.hint
            ) from error
        Path(staged[CODE]).unlink()
    for slot, path in staged.items():
        if slot == CODE:
            continue
        move_input(slot, path, folder if slot.startswith(f"{CODE}/") else data)
    return {CODE: str(code), DATA: str(data)}
