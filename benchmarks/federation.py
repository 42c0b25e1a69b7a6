"""Four real hospitals: one model trained over them, against each alone and against all rows in one place.

Per site the AUC on its held-out rows with a 95 % interval, over several ways to part the rows; what a privacy budget
costs; and how well an attacker who sees a site's update tells its training rows from others, with and without one.
The rounds are those of the engine, in one process and without a network: python benchmarks/federation.py [PARTS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

from deepseek.federated.features import SiteData, read_site_data
from deepseek.federated.metrics import compute_auc, measure_weights
from deepseek.federated.network import Weights, build_network, initialize_weights, predict, set_weights
from deepseek.federated.privacy import NoisePlan, plan_noise
from deepseek.federated.spec import StudySpec
from deepseek.federated.training import train_round
from tests.deepseek.federated.hospitals import build_heart_study, mean_of, pool, train_alone, write_tables

OVERFITTED: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [128]},
    "rounds": 20,
    "local_epochs": 10,
    "learning_rate": 0.3,
    "egress": {"max_norm": 1e6},
}
Data = dict[str, SiteData]


def train_federated(study: StudySpec, data: Data) -> tuple[Weights, dict[str, Weights], float | None]:
    """Global weights after all rounds, each site's last update, and the largest epsilon."""
    weights, updates, epsilon = initialize_weights(study), {}, None
    plans: dict[str, NoisePlan | None] = {site: plan_noise(study, len(part.training)) for site, part in data.items()}
    spent: dict[str, list] = {site: [] for site in data}
    for round in range(1, study.rounds + 1):
        helper = WeightedAggregationHelper()
        for site, part in sorted(data.items()):
            outcome = train_round(study, part.training, weights, round=round, plan=plans[site], history=spent[site])
            spent[site], updates[site] = outcome.history, outcome.weights
            epsilon = max(epsilon or 0.0, outcome.epsilon) if outcome.epsilon is not None else epsilon
            rows = 1 if study.privacy else len(part.training)
            helper.add(outcome.weights, rows, site, round)
        weights = {name: value.astype(np.float32) for name, value in helper.get_result().items()}
    return weights, updates, epsilon


def attack(study: StudySpec, weights: Weights, part: SiteData) -> float:
    """AUC of telling training rows from held-out ones by their loss (Yeom et al., CSF 2018); 0.5 is a coin."""
    network = build_network(study)
    set_weights(network, weights)
    losses = []
    for examples in (part.training, part.holdout):
        share = np.clip(predict(network, examples.inputs), 1e-7, 1 - 1e-7)
        losses.append(-np.log(np.where(examples.labels > 0.5, share, 1 - share)))
    members = np.concatenate([np.ones(len(part.training)), np.zeros(len(part.holdout))]).astype(np.float32)
    return float(compute_auc(-np.concatenate(losses), members).value or 0.5)


def compare(tables: dict[str, Path], parts: int) -> None:
    """Federated, local and pooled, averaged over `parts` ways to part the rows; the intervals are of the first."""
    study = build_heart_study()
    rows: dict[str, list[tuple[float, float, float]]] = {site: [] for site in tables}
    means = []
    for seed in range(parts):
        data = {
            site: read_site_data(path, study.schema_, holdout=study.holdout, seed=seed) for site, path in tables.items()
        }
        shared, pooled = train_federated(study, data)[0], train_alone(study, pool(data))
        local = {site: train_alone(study, part.training) for site, part in data.items()}
        for site, part in data.items():
            models = (local[site], shared, pooled)
            measured = [measure_weights(study, weights, part.holdout) for weights in models]
            rows[site].append(tuple(auc.value for auc in measured))
            if seed == 0:
                texts = [f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})" for auc in measured]
                print(f"{site:12} {len(part.training):4} {texts[0]:26} {texts[1]:26} {texts[2]:26}")
        best = max(mean_of(study, weights, data) for weights in local.values())
        means.append((best, mean_of(study, shared, data), mean_of(study, pooled, data)))
    print(f"\nmean over {parts} ways to part the rows: local, federated, pooled")
    for site, values in rows.items():
        print(f"{site:12} " + "  ".join(f"{value:.3f}" for value in np.mean(values, axis=0)))
    best, shared, pooled = np.mean(means, axis=0)
    print(f"best local model at all sites {best:.3f}, federated {shared:.3f}, pooled {pooled:.3f}")
    print(f"federated / best local {shared / best:.3f}; federated - pooled {100 * (shared - pooled):+.1f} points")


def show_privacy(tables: dict[str, Path]) -> None:
    print("\nbudget      spent   mean AUC")
    for epsilon in (None, 8.0, 3.0, 1.0):
        privacy = {"epsilon": epsilon, "delta": 1e-3} if epsilon else None
        study = build_heart_study(privacy=privacy)
        data = {
            site: read_site_data(path, study.schema_, holdout=study.holdout, seed=0) for site, path in tables.items()
        }
        weights, _, spent = train_federated(study, data)
        print(f"{epsilon or 'none':>6}  {spent or float('nan'):9.2f}  {mean_of(study, weights, data):9.3f}")


def show_membership(tables: dict[str, Path]) -> None:
    print("\nmembership inference from a site's last update (AUC; 0.5 is a coin): an MLP trained far too long")
    for epsilon in (None, 8.0, 1.0):
        privacy = {"epsilon": epsilon, "delta": 1e-3} if epsilon else None
        study = build_heart_study(**OVERFITTED, privacy=privacy)
        data = {
            site: read_site_data(path, study.schema_, holdout=study.holdout, seed=0) for site, path in tables.items()
        }
        _, updates, _ = train_federated(study, data)
        scores = {site: attack(study, updates[site], part) for site, part in data.items()}
        texts = "  ".join(f"{site} {score:.3f}" for site, score in scores.items())
        print(f"epsilon {epsilon or 'none':>4}: {texts}  mean {np.mean(list(scores.values())):.3f}")


def main() -> None:
    parts = int(sys.argv[1]) if sys.argv[1:] else 5
    with tempfile.TemporaryDirectory() as folder:
        tables = write_tables(Path(folder))
        print(f"{'site':12} rows {'local':26} {'federated':26} {'pooled':26}")
        compare(tables, parts)
        show_privacy(tables)
        show_membership(tables)


if __name__ == "__main__":
    main()
