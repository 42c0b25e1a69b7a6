"""The rounds of a study: NVFlare's FedAvg controller and its aggregation, with our board in place of its job engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from nvflare.apis.fl_constant import FLMetaKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.aggregators.model_aggregator import ModelAggregator
from nvflare.app_common.workflows.fedavg import FedAvg

from deepseek.federated.board import Board
from deepseek.federated.inspection import RoundTerms, Update
from deepseek.federated.network import Weights
from deepseek.federated.wire import compute_digest, encode_weights

CHECK_SECONDS = 0.01
SaveRound = Callable[[int, Weights, dict[str, Update]], None]
"""save(round, weights, updates): makes the outcome of a round durable."""


class TrimmedMean(ModelAggregator):  # type: ignore[misc]
    """The mean of each weight without the lowest and highest share of sites (Yin et al., ICML 2018): as many poisoned
    sites as are left out at one end cannot move it out of the range of the others. Sites weigh equally."""

    def __init__(self, trim: float) -> None:
        super().__init__()
        self.trim = trim
        self._models: list[dict[str, Any]] = []

    def accept_model(self, model: FLModel) -> None:
        self._models.append(model.params)

    def aggregate_model(self) -> FLModel:
        models, self._models = self._models, []
        out = compute_trim_count(self.trim, len(models))
        params = {}
        for name in models[0]:
            ordered = np.sort(np.stack([params[name] for params in models]).astype(np.float64), axis=0)
            params[name] = ordered[out : len(models) - out].mean(axis=0).astype(np.float32)
        return FLModel(params=params, params_type=ParamsType.FULL)

    def reset_stats(self) -> None:
        self._models = []


def compute_trim_count(trim: float, sites: int) -> int:
    """How many sites are left out at each end; one is always left in."""
    return min(int(trim * sites), (sites - 1) // 2)


class StudyController(FedAvg):  # type: ignore[misc]
    """NVFlare's FedAvg, whose tasks go to our board and whose models come back from it."""

    def __init__(self, board: Board, weights: Weights, *, first_round: int, save: SaveRound) -> None:
        study = board.study
        super().__init__(
            num_clients=len(board.spec.sites),
            start_round=first_round,
            num_rounds=study.rounds - first_round + 1,
            persistor_id="",
            model=FLModel(params=weights, params_type=ParamsType.FULL),
            save_filename=None,
            aggregator=TrimmedMean(study.trim) if study.aggregation == "trimmed_mean" else None,
            fedprox_mu=study.mu or None,
            task_check_period=CHECK_SECONDS,
        )
        self.board, self._save = board, save
        self.fl_ctx, self.abort_signal = FLContext(), Signal()
        self._callback: Callable[[FLModel], bool] | None = None
        self._updates: dict[str, Update] = {}
        self._started = 0.0

    def sample_clients(self, num_clients: int | None = None) -> list[str]:
        return self.board.list_active()

    def send_model(self, *, task_name: str, targets: Any, data: FLModel, callback: Any) -> None:
        """Open the round for every site that asks, now or later in it."""
        self._callback = callback
        weights = {name: np.asarray(value, np.float32) for name, value in data.params.items()}
        round, digest = self.current_round, self.board.digest
        content = encode_weights(weights, {})  # metadata has no fixed order, and the digest has to come again
        terms = RoundTerms(self.board.study, digest, round, weights, compute_digest(content))
        self._started = time.monotonic()
        self.board.open_round(terms, content)

    def get_num_standing_tasks(self) -> int:
        """1 while the round goes on. At its end the updates are aggregated, in the order of the sites' names: the same
        updates come to the same weights, whichever came first."""
        updates = self.board.close_round(started=self._started, patience=self.board.spec.join_seconds)
        if updates is None or self._callback is None:
            return 1
        for update in updates.values():
            meta = {"client_name": update.site, FLMetaKey.NUM_STEPS_CURRENT_ROUND: update.rows}
            model = FLModel(params=update.weights, params_type=ParamsType.FULL, current_round=update.round, meta=meta)
            self._callback(model)
        self._updates = updates
        return 0

    def save_model(self, model: FLModel) -> None:
        self._save(self.current_round, model.params, self._updates)

    # NVFlare's events go to the components of its own job; here there are none.
    def event(self, event_type: str) -> None:
        pass

    def fire_event_with_data(self, *_: Any, **__: Any) -> None:
        pass

    def info(self, message: str) -> None:
        """The job's log tells of the rounds already."""
