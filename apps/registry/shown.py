"""A version as pages show it: its variants as rows, beside production, and the way from its data to its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.datasets.models import DatasetVersion
from apps.registry.comparison import Measured, Pair, compare, listed, measured_in, pairs_of
from apps.registry.models import Alias, ModelVersion, Variant

Side = Mapping[str, Any]
Row = Mapping[str, Any]


def variant_rows(side: Side) -> list[dict[str, Any]]:
    """The variants as rows of a table, the trained one first: its figures, and of the first of them the difference."""
    rows = []
    for measured in measured_in(side):
        told = side["variants"][measured.name]
        rows.append(
            {
                **told,
                "name": measured.name,
                "metrics": measured.metrics,
                "first": measured.metrics[0] if measured.metrics else None,
                "lost": told["difference"].get(told["headline"]),
                "smaller": factor(told["size_ratio"]),
                "latency": {name: {**time, "faster": factor(time["ratio"])} for name, time in told["latency"].items()},
            }
        )
        rows[-1]["timed"] = list(rows[-1]["latency"].items())
    return rows


def factor(ratio: float | None) -> dict[str, Any] | None:
    """A ratio as people say it: 0.5 times as fast is 2 times slower. None where there is none to say."""
    if not ratio:
        return None
    return {"by": max(ratio, 1 / ratio), "is_more": ratio >= 1}


def beside(side: Side, other: Side | None) -> list[Pair]:
    """The variants of one version beside those of the other, if there is another."""
    return pairs_of(measured_in(side), measured_in(other)) if other else []


def against_baseline(row: Mapping[str, Any]) -> Pair | None:
    """The trained variant beside the baseline, which the same job measured on the same rows; else nothing is known."""
    baseline, alike = row["baseline"], True if row["job"] else None
    if not baseline:
        return None
    mine = Measured(row["name"], True, row["heldout"], row["rows"], row["metrics"])
    theirs = Measured(baseline["name"], True, row["heldout"], row["rows"], listed(baseline["metrics"], row["headline"]))
    metrics = compare(
        mine.metrics, theirs.metrics, same_rows=alike, paired=baseline.get("difference") if alike else None
    )
    return Pair(mine, theirs, alike, metrics)


def measures_of(rows: Sequence[Row], theirs: Row | None) -> list[dict[str, Any]]:
    """For a table of measures by variants: {name, cells: [{row, value}], theirs: production's}; None: not measured."""
    return by_name(rows, theirs, lambda row: {metric["name"]: metric for metric in row["metrics"]})


def latencies_of(rows: Sequence[Row], theirs: Row | None) -> list[dict[str, Any]]:
    """The same of the latencies, by batch size."""
    return by_name(rows, theirs, lambda row: row["latency"])


def by_name(rows: Sequence[Row], theirs: Row | None, read: Callable[[Row], Mapping[str, Any]]) -> list[dict[str, Any]]:
    found, other = [read(row) for row in rows], read(theirs) if theirs else {}
    names = dict.fromkeys(name for one in [*found, other] for name in one)
    return [
        {
            "name": name,
            "cells": [{"row": row, "value": one.get(name)} for row, one in zip(rows, found, strict=True)],
            "theirs": other.get(name),
        }
        for name in names
    ]


def serve_commands(variant: Variant, model: str, files: str) -> str:
    """What to type to let a variant answer: its two files by digest into a folder, then serve that.

    `files`: the address of the project's artifacts.
    """
    parts = (
        'curl -f -H "Authorization: Bearer $TOKEN" --create-dirs',
        f"-o {model}/model.json {files}/{variant.manifest_id}",
        f"-o {model}/{variant.file} {files}/{variant.artifact_id}",
    )
    return " \\\n  ".join(parts) + f"\ndeepseek serve {model}"


def strip_of(
    version: ModelVersion,
    variants: Sequence[Variant],
    data: Sequence[DatasetVersion],
    aliases: Sequence[Alias],
    slug: str,
) -> list[dict[str, Any]]:
    """From the data by the training and its run to this version, and on to the names that point to it."""
    trainer = variants[0].job_id if variants else None
    steps: list[dict[str, Any]] = [
        {"kind": _("Dataset version"), "label": str(one), "url": address_of("datasets:by_id", slug, one.pk)}
        for one in data
    ]
    if trainer:
        steps.append({"kind": _("Job"), "label": f"#{trainer} train", "url": address_of("jobs:detail", slug, trainer)})
    if version.run:
        url = address_of("experiments:detail", slug, version.run_id)
        steps.append({"kind": _("Run"), "label": version.run.name or version.run.pk[:8], "url": url})
    count = len(variants)
    many = ngettext("%(n)d variant", "%(n)d variants", count) % {"n": count}
    steps.append({"kind": _("This version"), "label": str(version), "here": True, "text": many})
    return steps + [{"kind": _("Alias"), "label": alias.name, "url": ""} for alias in aliases]


def address_of(name: str, *args: Any) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
