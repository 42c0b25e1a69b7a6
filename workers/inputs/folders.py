"""Inputs that are files of a folder, each under its path there: FOLDER/path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from apps.core.errors import PlaneError
from deepseek.messages import N_


def arrange_folders(folder: Path, staged: Mapping[str, str]) -> dict[str, str]:
    """Move each input whose slot is a path to that path below `folder`; returns slot or folder -> path.

    `folder`: that of the staged inputs. Raises PlaneError for a slot that is no path.
    """
    arranged = {}
    for slot, path in staged.items():
        if "/" not in slot:
            arranged[slot] = path
            continue
        move_input(slot, path, folder)
        name = PurePosixPath(slot).parts[0]
        arranged[name] = str(folder / name)
    return arranged


def move_input(slot: str, path: str, folder: Path) -> None:
    """Move the staged file at `path` to the path `slot` below `folder`."""
    target = folder / check_slot(slot)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise FileExistsError
        Path(path).rename(target)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise build_slot_error(slot, N_("Two inputs have the same path, or one lies in the other.")) from None


def check_slot(slot: str) -> PurePosixPath:
    """The slot as a path below a folder."""
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
