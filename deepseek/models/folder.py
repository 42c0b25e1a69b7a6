"""A model folder, as the command line takes it: which file fills which slot. Light to import."""

from pathlib import Path

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import MANIFEST_NAME, ModelManifest

HELDOUT_NAME = "heldout.safetensors"
TEXT_HELDOUT_NAME = "heldout.jsonl"  # of a model that takes texts


def find_model_inputs(folder: Path, heldout: Path | None = None) -> dict[str, Path]:
    """The slots ``model``, ``manifest`` and ``heldout`` out of `folder`; `heldout` names another file for the last.

    Raises EngineError ``no_model_folder``, ``manifest_unreadable``, ``model_file_missing`` or ``heldout_missing``.
    """
    texts = folder / TEXT_HELDOUT_NAME
    inputs = {**find_model_files(folder), "heldout": heldout or (texts if texts.is_file() else folder / HELDOUT_NAME)}
    if not inputs["heldout"].is_file():
        raise EngineError(
            "heldout_missing",
            "There is no {heldout} with rows to measure on.",
            heldout=inputs["heldout"],
            field="--heldout",
            value=str(inputs["heldout"]),
            limit="a safetensors file with the tensors features and target",
            hint=N_("Name the heldout.safetensors that `deepseek train` wrote beside the trained model."),
        )
    return inputs


def find_model_files(folder: Path) -> dict[str, Path]:
    """The slots ``model`` and ``manifest`` out of `folder`.

    Raises EngineError ``no_model_folder``, ``manifest_unreadable`` or ``model_file_missing``.
    """
    if not (folder / MANIFEST_NAME).is_file():
        raise EngineError(
            "no_model_folder",
            "{folder} is no folder of a model: it has no {manifest_name}.",
            folder=folder,
            manifest_name=MANIFEST_NAME,
            field="MODEL_DIR",
            value=str(folder),
            limit=f"a folder with {MANIFEST_NAME} and the file that it names",
            hint=N_("Give the folder that `deepseek train`, `quantize` or `compile` made."),
        )
    files = {"model": folder / ModelManifest.read(folder / MANIFEST_NAME).file.name, "manifest": folder / MANIFEST_NAME}
    if not files["model"].is_file():
        raise EngineError(
            "model_file_missing",
            "{folder} lacks {model_name}, which its manifest names.",
            folder=folder,
            model_name=files["model"].name,
            field="MODEL_DIR",
            value=str(folder),
            limit=files["model"].name,
            hint=N_("Copy both files of the model."),
        )
    return files
