"""The folders that a script finds: its code, unpacked, and its data, each file under its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from apps.core.errors import PlaneError
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.script.archive import unpack_code
from deepseek.script.run import DATA
from deepseek.script.spec import CODE


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
        target = (folder if slot.startswith(f"{CODE}/") else data) / check_slot(slot)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise FileExistsError
            Path(path).rename(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise build_slot_error(slot, N_("Two inputs have the same path, or one lies in the other.")) from None
    return {CODE: str(code), DATA: str(data)}


def check_slot(slot: str) -> PurePosixPath:
    """The slot as a path below the data folder."""
    path = PurePosixPath(slot)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\x00" in slot:
        raise build_slot_error(slot, N_("The name of an input is no path below the data folder."))
    return path


def build_slot_error(slot: str, message: str) -> PlaneError:
    return PlaneError(
        message,
        code="bad_input_path",
        field=f"/inputs/{slot[:60]}",
        hint=N_("Name it like prices/day.csv: it is found at $DATA/prices/day.csv."),
    )
