"""A version as pages show it: its variants as rows, beside production, and the way from its data to its name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.evaluations.comparison import (
    VariantFigures,
    VariantPair,
    build_variant_figures,
    compare_metrics,
    compute_range,
    list_metrics,
    pair_variants,
)
from apps.ml.registry.models import Alias, ModelVersion, Variant
from apps.ml.registry.promotion.facts import build_baseline

Side = Mapping[str, Any]
Row = Mapping[str, Any]
SERVE_ADDRESS = "http://127.0.0.1:8080/predict"
MAX_INLINE_WIDTH = 40  # numbers that an example call writes out
MAX_RECIPE_ROWS = 60


def build_variant_rows(side: Side) -> list[dict[str, Any]]:
    """The variants as rows of a table, the trained one first: its figures, and of the first of them the difference."""
    rows = []
    for measured in build_variant_figures(side):
        variant = side["variants"][measured.name]
        rows.append(
            {
                **variant,
                "name": measured.name,
                "metrics": measured.metrics,
                "first": measured.metrics[0] if measured.metrics else None,
                "lost": variant["difference"].get(variant["headline"]),
                "smaller": build_factor(variant["size_ratio"]),
                "latency": {
                    name: {**time, "faster": build_factor(time["ratio"])} for name, time in variant["latency"].items()
                },
            }
        )
        rows[-1]["timed"] = list(rows[-1]["latency"].items())
    for row in rows:
        row["beside"] = find_reference_latencies(row["name"], rows) if row["trained"] else {}
    return rows


def find_reference_latencies(name: str, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The latencies of the form that others were measured against, by batch size, and beside which of them."""
    latencies: dict[str, dict[str, Any]] = {}
    for row in rows:
        for batch, time in row["timed"]:
            if time["against"].split(" ")[0] == name:  # "fp32 eager"
                latencies.setdefault(batch, {"median_us": time["against_median_us"], "variant": row["name"]})
    return latencies


def build_factor(ratio: float | None) -> dict[str, Any] | None:
    """A ratio as people say it: 0.5 times as fast is 2 times slower. None where there is none to say."""
    if not ratio:
        return None
    return {"by": max(ratio, 1 / ratio), "is_more": ratio >= 1}


def pair_with_other(side: Side, other_side: Side | None) -> list[VariantPair]:
    """The variants of one version beside those of the other, if there is another."""
    return pair_variants(build_variant_figures(side), build_variant_figures(other_side)) if other_side else []


def pair_with_baseline(row: Mapping[str, Any]) -> VariantPair | None:
    """The trained variant beside the baseline, which the same job measured on the same rows; else nothing is known."""
    baseline = row["baseline"]
    return pair_with_other_kind(row, baseline) if baseline else None


def pair_with_references(row: Mapping[str, Any], figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trained variant beside each reference model that the same job measured: {reference, pair}.

    `figures`: the variant's document; older ones have no references.
    """
    return [
        {"reference": reference, "pair": pair_with_other_kind(row, build_baseline(reference))}
        for reference in figures.get("references") or []
    ]


def pair_with_other_kind(row: Mapping[str, Any], other: Mapping[str, Any]) -> VariantPair:
    """The trained variant beside what is no variant, a baseline or a reference, with metrics by name."""
    alike = True if row["job"] else None
    mine = VariantFigures(row["name"], True, row["heldout"], row["rows"], row["metrics"])
    theirs = VariantFigures(
        other["name"], True, row["heldout"], row["rows"], list_metrics(other["metrics"], row["headline"])
    )
    metrics = compare_metrics(
        mine.metrics, theirs.metrics, same_rows=alike, paired=other.get("difference") if alike else None
    )
    return VariantPair(mine, theirs, alike, metrics)


def build_measures(rows: Sequence[Row], theirs: Row | None) -> list[dict[str, Any]]:
    """For a table of measures by variants: {name, cells: [{row, value}], theirs: production's}; None: not measured."""
    measures = build_rows_by_name(rows, theirs, lambda row: {metric["name"]: metric for metric in row["metrics"]})
    return [{**measure, "scale": compute_scale(measure)} for measure in measures]


def compute_scale(measure: Mapping[str, Any]) -> tuple[float, float]:
    """One range for a row of gauges, so that the eye may compare them across."""
    return compute_range([*(cell["value"] for cell in measure["cells"]), measure["theirs"]])


def build_latencies(rows: Sequence[Row], theirs: Row | None) -> list[dict[str, Any]]:
    """The same of the latencies, by batch size."""
    latencies = build_rows_by_name(rows, theirs, lambda row: row["latency"])
    for latency in latencies:
        for cell in latency["cells"]:
            cell["beside"] = cell["row"]["beside"].get(latency["name"])
        latency["theirs"] = latency["theirs"] or (theirs["beside"].get(latency["name"]) if theirs else None)
    return latencies


def build_rows_by_name(
    rows: Sequence[Row], theirs: Row | None, read: Callable[[Row], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    columns, production = [read(row) for row in rows], read(theirs) if theirs else {}
    names = dict.fromkeys(name for values in [*columns, production] for name in values)
    return [
        {
            "name": name,
            "cells": [{"row": row, "value": values.get(name)} for row, values in zip(rows, columns, strict=True)],
            "theirs": production.get(name),
        }
        for name in names
    ]


def build_serving_examples(
    variants: Sequence[Variant], model: str, files: str, document: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Per variant what to type to let it answer, and an example call: [{name, commands, call}].

    `files`: the address of the project's artifacts.
    """
    call = format_predict_call(document)
    return [
        {"name": variant.name, "commands": format_serve_commands(variant, model, files), "call": call}
        for variant in variants
    ]


def format_serve_commands(variant: Variant, model: str, files: str) -> str:
    """The two files of a variant by digest into a folder, then serve that."""
    folder = f"{model}-{variant.name}"
    downloads = (("model.json", variant.manifest_id), (variant.file, variant.artifact_id))
    parts = (
        'curl -f -H "Authorization: Bearer $TOKEN" --create-dirs',
        *(f"-o {quote_path(f'{folder}/{name}')} {shlex.quote(f'{files}/{digest}')}" for name, digest in downloads),
    )
    return " \\\n  ".join(parts) + f"\ndeepseek serve {quote_path(folder)}"


def quote_path(path: str) -> str:
    """A path as one word of a shell, which no program takes for an option."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def format_loading_commands(version: ModelVersion, server: str) -> str:
    """What to type to load a version that one of MLflow's clients made, with that client."""
    uri = f"models:/{version.model.name}/{version.number}"
    load = f"import mlflow; model = mlflow.pyfunc.load_model({json.dumps(uri, ensure_ascii=False)})"
    return "\n".join(
        (
            f"export MLFLOW_TRACKING_URI={shlex.quote(server)}",
            "export MLFLOW_TRACKING_TOKEN=...",
            f"python -c {shlex.quote(load)}",
            f"mlflow artifacts download --artifact-uri {shlex.quote(uri)} --dst-path .",
        )
    )


def format_predict_call(document: Mapping[str, Any]) -> str:
    """A call with one text, one image, or one row of zeros as wide as the signature says; "" where it does not say.

    Where the model takes categories, the first of each stands in its place.
    """
    inputs = document["signature"].get("inputs") or []
    if inputs and inputs[0].get("dtype") == "string":
        body = json.dumps({"features": ["Ada Lovelace met Charles Babbage."]})
        return f"curl -H 'Content-Type: application/json' \\\n  -d '{body}' \\\n  {SERVE_ADDRESS}"
    if (document.get("architecture") or {}).get("type") == "image":  # as an argument a shell would refuse a large one
        body = """printf '{"features": "%s"}' "$(base64 -w0 image.jpg)\""""
        return f"{body} |\n  curl -H 'Content-Type: application/json' -d @- {SERVE_ADDRESS}"
    width = inputs[0]["shape"][-1] if inputs and inputs[0].get("shape") else None
    if not isinstance(width, int) or width < 1:
        return ""
    words = document.get("categories") or {}
    row = [(words[name] or [None])[0] if name in words else 0.0 for name in document.get("features") or []]
    body = json.dumps({"features": [row if words else [0.0] * width]}, ensure_ascii=False)
    if width > MAX_INLINE_WIDTH and not words:  # nobody wants to read hundreds of zeros, and a shell has a limit
        make = f"import json; print(json.dumps({{'features': [[0.0] * {width}]}}))"
        return f'python3 -c "{make}" |\n  curl -H "Content-Type: application/json" -d @- {SERVE_ADDRESS}'
    return f"curl -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)} \\\n  {SERVE_ADDRESS}"


def describe_tensors(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """What goes in and out, as one writes it: "features float32 rows × 20"."""
    return {
        way: [
            f"{tensor['name']} {tensor['dtype']} "
            + " × ".join(_("rows") if n == -1 else str(n) for n in tensor["shape"])
            for tensor in document["signature"].get(way) or []
        ]
        for way in ("inputs", "outputs")
    }


def list_recipe(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the training was asked for, setting by setting: (name, value)."""
    spec = document.get("spec") or {}
    settings = []
    for name, value in spec.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, setting in parts:
            text = setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)
            settings.append((f"{name}.{part}" if part else name, text))
    return settings[:MAX_RECIPE_ROWS]


def build_provenance_steps(
    version: ModelVersion,
    variants: Sequence[Variant],
    data: Sequence[DatasetVersion],
    aliases: Sequence[Alias],
    slug: str,
) -> list[dict[str, Any]]:
    """From the data by the training and its run to this version, and on to the names that point to it."""
    trainer = variants[0].job_id if variants else None
    steps: list[dict[str, Any]] = [
        {
            "kind": _("Dataset version"),
            "label": str(dataset_version),
            "url": find_address("datasets:by_id", slug, dataset_version.pk),
        }
        for dataset_version in data
    ]
    if trainer:
        steps.append(
            {"kind": _("Job"), "label": f"#{trainer} train", "url": find_address("jobs:detail", slug, trainer)}
        )
    if version.run:
        url = find_address("experiments:detail", slug, version.run_id)
        steps.append({"kind": _("Run"), "label": version.run.name or version.run.pk[:8], "url": url})
    if version.logged_model:
        url = find_address("experiments:logged_model", slug, version.logged_model_id)
        steps.append({"kind": _("Logged model"), "label": version.logged_model.name, "url": url})
    count = len(variants)
    many = ngettext("%(n)d variant", "%(n)d variants", count) % {"n": count} if count else ""
    steps.append({"kind": _("This version"), "label": str(version), "here": True, "text": many})
    return steps + [{"kind": _("Alias"), "label": alias.name, "url": ""} for alias in aliases]


def find_address(name: str, *args: Any) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""
