"""Names of runs where there is little room."""

from apps.ml.experiments.models import Run
from apps.ml.experiments.run_labels import label_runs


def test_long_names_keep_the_end_that_tells_them_apart():
    names = ("breast-cancer-classifier: compile", "breast-cancer-classifier: train", "short", "short")
    runs = [Run(pk=digit * 32, name=name) for digit, name in zip("abcd", names, strict=True)]
    labels = list(label_runs(runs, 20).values())
    assert labels == ["breast-can\u2026: compile", "breast-can\u2026er: train", "short cccccccc", "short dddddddd"]
