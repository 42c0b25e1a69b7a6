"""Real data that ships inside packages, as CSV: nothing is fetched."""

from __future__ import annotations

import csv
import io


def wti_csv() -> bytes:
    """WTI crude oil, daily since 1986, US dollars a barrel: 8,611 rows, 290 of them missing (package arch)."""
    from arch.data import wti

    return bytes(wti.load().to_csv(lineterminator="\n"), "utf-8")


def breast_cancer_csv() -> bytes:
    """Breast masses, Wisconsin 1995: 569 rows, 30 measures of cell nuclei and the diagnosis (package scikit-learn)."""
    from sklearn.datasets import load_breast_cancer

    dataset = load_breast_cancer()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(name.replace(" ", "_") for name in dataset.feature_names), "diagnosis"])
    for row, target in zip(dataset.data.tolist(), dataset.target.tolist(), strict=True):
        writer.writerow([*row, dataset.target_names[target]])
    return text.getvalue().encode()
