"""Replaces the version of a model while it answers, or lets a candidate run in shadow.

The new version is loaded beside the old one, in a thread. It takes over only if its bytes are those of its manifest,
its clients notice no difference in what it takes and gives, and it answers the sample rows with finite numbers.
Requests that began with the old version end with it. Whatever is wrong leaves the old version as it was.
"""

import asyncio
import logging
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.job import EngineError
from deepseek.models.manifest import LanguageArchitecture
from deepseek.serve.loaded_model import LoadedModel
from deepseek.serve.loading import load_model, read_sample
from deepseek.serve.options import ModelSource, ServeOptions
from deepseek.serve.recorder import PredictionRecorder
from deepseek.serve.repository import ModelRepository, ServedModel
from deepseek.serve.responses import Refused
from deepseek.serve.shadow import Shadow
from deepseek.serve.signatures import compare_signatures

logger = logging.getLogger("deepseek.serve")


class ModelSwapper:
    """Swaps the models of one service, one after the other."""

    def __init__(
        self,
        repository: ModelRepository,
        options: ServeOptions,
        executor: Executor,
        recorder: PredictionRecorder | None = None,
    ) -> None:
        self.repository, self.options, self.executor, self.recorder = repository, options, executor, recorder
        self.loader: Executor = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._lock = asyncio.Lock()

    async def swap(self, name: str, folder: Path, version: str = "") -> dict[str, Any]:
        """Let the model in `folder` answer under `name`. Raises Refused, and then everything is as before."""
        served = self._find(name)
        begin = time.perf_counter()
        async with self._lock:
            previous = served.current
            try:
                candidate = await self._load(served, folder, version)
            except Refused as refused:
                served.refused_swaps += 1
                served.last_refusal = str(refused.errors[0].message)
                logger.warning("%s keeps version %s: %s", name, previous.version, refused.errors[0].message)
                raise
            changed = (candidate.digest, candidate.version) != (previous.digest, previous.version)
            if changed:
                served.install(candidate)
                served.swaps += 1
                served.last_refusal = ""
                logger.warning("%s: version %s answers instead of %s", name, candidate.version, previous.version)
        return {
            "name": name,
            "version": served.current.version,
            "previous": previous.version,
            "changed": changed,
            "seconds": round(time.perf_counter() - begin, 3),
        }

    async def start_shadow(self, name: str, folder: Path, version: str = "", rate: float = 1.0) -> dict[str, Any]:
        """Let the model in `folder` see the share `rate` of the traffic of `name`. Raises Refused."""
        served = self._find(name)
        async with self._lock:
            candidate = await self._load(served, folder, version)
            shadow = Shadow(candidate, rate, self.recorder)
            served.set_shadow(shadow)
        logger.warning("%s: version %s runs in shadow", name, candidate.version)
        return shadow.describe()

    def stop_shadow(self, name: str) -> dict[str, Any] | None:
        """End the shadow of `name`, and give its last counts. Raises Refused."""
        served = self._find(name)
        counts = served.shadow.describe() if served.shadow else None
        served.set_shadow(None)
        return counts

    def _find(self, name: str) -> ServedModel:
        served = self.repository.get(name)
        if served is None:
            names = ", ".join(entry.name for entry in self.repository)
            raise Refused(EngineError("not_found", f"There is no model {name[:100]}.", limit=names))
        return served

    async def _load(self, served: ServedModel, folder: Path, version: str) -> LoadedModel:
        """The candidate, loaded and checked. Raises Refused."""
        loop = asyncio.get_running_loop()
        source = ModelSource(served.name, folder, version)
        try:
            return await loop.run_in_executor(self.loader, partial(self._load_here, served.current, source))
        except EngineError as error:
            raise Refused(error) from error
        except Refused:
            raise
        except Exception as error:  # whatever it is, this version must not answer anybody
            logger.exception("%s: the model in %s cannot be loaded", served.name, folder)
            raise Refused(_build_load_error(folder, error)) from error

    def _load_here(self, current: LoadedModel, source: ModelSource) -> LoadedModel:
        candidate = load_model(source, self.options, self.executor)
        differences = compare_signatures(current.manifest, candidate.manifest)
        if differences:
            raise Refused(*differences)
        check_health(candidate)
        return candidate


def check_health(model: LoadedModel) -> None:
    """Let the model answer its held-out rows, else drawn ones. Raises EngineError ``health_check_failed``."""
    handler = model.handler
    rows: Any = ["a"]
    if handler.takes_arrays and model.folder is not None:
        rows = read_sample(model.manifest, model.folder)
    elif isinstance(model.manifest.architecture, LanguageArchitecture):
        rows = "a"
    try:
        outputs = handler.predict(rows)
    except Exception as error:  # whatever it is, this version must not answer anybody
        raise _build_health_error(model, f"{type(error).__name__}: {error}"[:300]) from error
    if not handler.takes_arrays:
        return
    if outputs.shape != (len(rows), model.manifest.architecture.outputs):
        raise _build_health_error(model, f"outputs of shape {outputs.shape}")
    broken = int((~np.isfinite(outputs).all(axis=1)).sum())
    if broken:
        raise _build_health_error(model, f"infinite values, or none, for {broken} of {len(rows)} rows")


def _build_load_error(folder: Path, error: Exception) -> EngineError:
    observed = f"{type(error).__name__}: {error}"[:300]
    return EngineError(
        "health_check_failed",
        f"The model in {folder} cannot be loaded: {observed}.",
        field="/folder",
        value=observed,
        limit="a folder that `deepseek serve` can start with",
        hint="The version before goes on answering; the log of the service says more.",
    )


def _build_health_error(model: LoadedModel, found: str) -> EngineError:
    return EngineError(
        "health_check_failed",
        f"Version {model.version} of {model.name} does not answer its sample rows: {found}.",
        field="/folder",
        value=found,
        limit="finite outputs for the sample rows",
        hint="The version before goes on answering; train or convert this one again.",
    )
