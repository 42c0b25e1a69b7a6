"""The service of a model, by its family."""

from pathlib import Path

from fastapi import FastAPI

from deepseek.entities.predictor import EntitiesPredictor, open_entities
from deepseek.models.folder import find_model_files
from deepseek.models.manifest import LanguageArchitecture, ModelManifest
from deepseek.models.predictor import Predictor, open_model
from deepseek.serve.app import create_app


def build_service(folder: Path, *, max_rows: int, at_once: int) -> tuple[FastAPI, ModelManifest]:
    """The service of the model in `folder`, and its manifest. Raises EngineError for whatever is wrong with it."""
    files = find_model_files(folder)
    manifest = ModelManifest.read(files["manifest"])
    if isinstance(manifest.architecture, LanguageArchitecture):
        from deepseek.language.serving import load_language_predictor
        from deepseek.serve.language import create_language_app

        return create_language_app(load_language_predictor(manifest, files["model"])), manifest
    return create_app(load_model(folder), max_rows=max_rows, at_once=at_once), manifest


def load_model(folder: Path) -> Predictor | EntitiesPredictor:
    """The model in `folder`, of whatever family that takes rows or texts."""
    files = find_model_files(folder)
    manifest = ModelManifest.read(files["manifest"])
    return (open_entities if manifest.task == "entities" else open_model)(manifest, files["model"])
