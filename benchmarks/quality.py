"""How good the trained models are, against what they have to beat, on two real tables and several seeds.

Run: python benchmarks/quality.py [seeds]      (default 10)

* Forecaster: the daily WTI oil price (package arch), cleaned as `deepseek clean` does, 20 lags, against the last value.
  The held-out rows are the last 15 %, the same for every seed; intervals are paired, by block bootstrap.
* Classifier: breast cancer (scikit-learn) against scikit-learn's LogisticRegression on standardised features. Each seed
  draws its own split; both see the same training rows, and the same held-out ones. Logistic regression has no use for
  validation rows, so it is also shown with those as further training rows. The interval of the mean difference over
  seeds counts that splits overlap (Nadeau and Bengio, "Inference for the Generalization Error", 2003).

Everything is trained with the defaults of `deepseek train`; "wide" is a network of 6 layers of 1024 units.
"""

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from arch.data import wti
from scipy import stats
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepseek.clean.run import run as clean
from deepseek.clean.spec import CleanSpec
from deepseek.job import Silent
from deepseek.models.evaluate import measure, measure_difference
from deepseek.models.figures import Figures, Metric
from deepseek.models.heldout import read_heldout
from deepseek.models.manifest import ModelManifest
from deepseek.models.network import load_network
from deepseek.train.examples import read_examples
from deepseek.train.run import predict, run
from deepseek.train.spec import TrainSpec

WIDE = [1024] * 6


def main(seeds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forecast(folder, seeds)
        for title, hidden in (("default", None), ("wide", WIDE)):
            classify(folder, title, hidden, seeds)


def forecast(folder: Path, seeds: int) -> None:
    wti.load().to_csv(folder / "wti.csv")
    clean(CleanSpec(window_size=11), inputs={"table": folder / "wti.csv"}, out=folder / "wti", report=Silent())
    print("WTI, forecast of the next day from 20 days: rmse of the model, of the last value, and their difference")
    ratios, verdicts = [], []
    for seed in range(seeds):
        spec = TrainSpec(task="forecast", target="DCOILWTICO", seed=seed)
        figures, paired = trained(spec, folder / "wti/table.parquet", folder / f"forecast{seed}")
        model, last = figures.metrics[0], figures.baseline.metrics[0]
        ratios.append(model.value / last.value)
        verdicts.append(verdict(paired))
        print(f"  seed {seed}: {shown(model)}   {shown(last)}   {shown(paired)}   {verdicts[-1]}")
    print(f"  ratio of the rmse over seeds: median {np.median(ratios):.4f}, {min(ratios):.4f} to {max(ratios):.4f}")
    print(f"  told apart from chance: {counted(verdicts)}\n")


def trained(spec: TrainSpec, table: Path, out: Path) -> tuple[Figures, Metric]:
    """Figures of a new model, and its first metric less that of the baseline, measured again from the files."""
    run(spec, inputs={"table": table}, out=out, report=Silent())
    manifest = ModelManifest.read(out / "model.json")
    rows = read_heldout(out / "heldout.safetensors", manifest)
    outputs = predict(load_network(manifest, out / "model.safetensors"), rows.features)
    last = rows.features[:, -1:]
    return Figures.read(out / "figures.json"), measure_difference(spec.task, outputs, last, rows.target)[0]


def classify(folder: Path, title: str, hidden: list[int] | None, seeds: int) -> None:
    data = load_breast_cancer(as_frame=True)
    data.frame.assign(target=data.frame["target"].map(str)).to_csv(folder / "cancer.csv", index=False)
    print(
        f"Breast cancer, {title} network: accuracy and log loss of the model | of logistic regression | with more rows"
    )
    found = []
    for seed in range(seeds):
        fields: dict[str, Any] = {"hidden": hidden} if hidden else {}
        spec = TrainSpec(task="classification", target="target", seed=seed, **fields)
        found.append(pair(spec, folder / "cancer.csv", folder / f"{title}{seed}"))
        print("  seed {}: {}".format(seed, " | ".join(f"{m[0]:.4f} {m[1]:.4f}" for m in found[-1])))
    values = np.array(found)
    for place, (name, better) in enumerate((("accuracy", "higher"), ("log_loss", "lower"))):
        means = " | ".join(f"{value:.4f}" for value in values[:, :, place].mean(axis=0))
        low, high = overlapping(values[:, 0, place] - values[:, 1, place])
        paired = Metric(name=name, value=(low + high) / 2, low=low, high=high, better=better)
        print(f"  {name} over seeds: {means}; model less regression {shown(paired)}: {verdict(paired)}")
    print()


def pair(spec: TrainSpec, table: Path, out: Path) -> list[tuple[float, float]]:
    """Accuracy and log loss of the model, of a regression on its training rows, and on its validation rows as well."""
    metrics = run(spec, inputs={"table": table}, out=out, report=Silent()).metrics
    examples = read_examples(table, spec)
    parts = examples.parts
    found = [(metrics["accuracy"], metrics["log_loss"])]
    for rows in (parts.training, np.concatenate([parts.training, parts.validation])):
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        regression.fit(examples.features[rows], examples.target[rows])
        outputs = regression.predict_proba(examples.features[parts.test]).astype(np.float32)
        made = {m.name: m.value for m in measure(spec.task, outputs, examples.target[parts.test])}
        found.append((made["accuracy"], made["log_loss"]))
    return found


def overlapping(differences: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of differences whose splits hold 15 % of the rows out and train on 70 %."""
    count = len(differences)
    spread = math.sqrt(differences.var(ddof=1) * (1 / count + 0.15 / 0.70)) if count > 1 else math.inf
    reach = stats.t.ppf(0.975, max(1, count - 1)) * spread
    return float(differences.mean() - reach), float(differences.mean() + reach)


def verdict(paired: Metric) -> str:
    if paired.low <= 0 <= paired.high:
        return "no difference beyond chance"
    return "better" if (paired.value > 0) == (paired.better == "higher") else "worse"


def counted(verdicts: list[str]) -> str:
    return ", ".join(f"{verdicts.count(name)} of {len(verdicts)} {name}" for name in dict.fromkeys(verdicts))


def shown(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
