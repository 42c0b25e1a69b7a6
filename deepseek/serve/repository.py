"""The models of a service, by name; each has one current version, which may be replaced while it answers."""

from collections.abc import Iterable, Iterator

from deepseek.serve.loaded_model import LoadedModel
from deepseek.serve.metrics import ModelMetrics
from deepseek.serve.shadow import Shadow


class ServedModel:
    """One name. Requests that began with a version end with it."""

    def __init__(self, current: LoadedModel) -> None:
        self.name, self.metrics = current.name, ModelMetrics()
        self.current = current
        self.shadow: Shadow | None = None
        self.swaps = self.refused_swaps = 0
        self.last_refusal = ""
        self.install(current)

    def set_shadow(self, shadow: Shadow | None) -> None:
        """Let a candidate see the traffic from now on, or none."""
        if self.shadow is not None:
            self.shadow.stop()
        self.shadow = shadow

    def install(self, loaded: LoadedModel) -> None:
        """Let `loaded` answer from now on."""
        for queue in (loaded.queue, loaded.turns):
            if queue is not None:
                queue.record_batch = self.metrics.record_batch
        self.current = loaded


class ModelRepository:
    """The models by name; the first is that of POST /predict."""

    def __init__(self, models: Iterable[LoadedModel]) -> None:
        self._models = {loaded.name: ServedModel(loaded) for loaded in models}
        self.default = next(iter(self._models.values()))

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def get(self, name: str) -> ServedModel | None:
        return self._models.get(name)
