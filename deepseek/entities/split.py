"""Which texts are learned from, which decide when to stop, and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.entities.learner import Corpus
from deepseek.entities.spec import TEXTS, EntitiesSpec
from deepseek.entities.texts import MarkedText
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.train.split import FEWEST_ROWS, Parts, Rows, split_randomly


@dataclass(frozen=True)
class TextParts(Parts):
    """Texts of each part, by their places in the file."""

    def of_windows(self, corpus: Corpus) -> Parts:
        """The windows of each part's texts."""

        def select(texts: Rows) -> Rows:
            return np.flatnonzero(np.isin(corpus.texts, texts)).astype(np.int64)

        return Parts(select(self.training), select(self.validation), select(self.test))


def split_marked_texts(texts: Sequence[MarkedText], spec: EntitiesSpec) -> TextParts:
    """Parts drawn by the seed, with texts of each set of labels in equal shares.

    Texts that read the same go to one part: a text of the training part would say nothing as a test. Raises EngineError
    ``too_few_texts`` and ``no_spans``.
    """
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text.text, place)
    once = list(first.values())
    _require_texts(texts, len(once), spec)
    kinds = [sum(1 << spec.labels.index(label) for label in {s.label for s in texts[p].spans}) for p in once]
    codes = np.unique(np.array(kinds, dtype=object), return_inverse=True)[1].astype(np.int64)
    codes[np.bincount(codes)[codes] < FEWEST_ROWS] = 0  # a rare set of labels is no class of its own
    parts = split_randomly(codes, spec.validation_share, spec.test_share, spec.seed)
    members: list[list[int]] = [[] for _ in once]
    numbers = {text: number for number, text in enumerate(first)}
    for place, text in enumerate(texts):
        members[numbers[text.text]].append(place)

    def expand(rows: Rows) -> Rows:
        return np.array(sorted(place for row in rows for place in members[row]), np.int64)

    return TextParts(expand(parts.training), expand(parts.validation), expand(parts.test))


def _require_texts(texts: Sequence[MarkedText], different: int, spec: EntitiesSpec) -> None:
    if different < FEWEST_ROWS:
        raise EngineError(
            "too_few_texts",
            "{count} different texts are too few to train on.",
            count=different,
            field=f"inputs/{TEXTS}",
            value=str(different),
            limit=f"at least {FEWEST_ROWS}",
            hint=N_("Give more texts, or see in the log which were left out."),
        )
    if not any(text.spans for text in texts):
        raise EngineError(
            "no_spans",
            "None of the texts has a span with one of the labels: there is nothing to learn.",
            field=f"inputs/{TEXTS}",
            value="0",
            limit=", ".join(spec.labels),
            hint=N_("Check the labels of the spec against those of the file."),
        )
