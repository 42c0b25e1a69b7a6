"""What people say about a dataset: description, keywords and card. The trail has every change, before and after."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.markdown import MAX_CHARACTERS
from apps.core.revisions import require_revision
from apps.data.datasets.models import Dataset
from apps.data.datasets.versions.registration import check_text
from apps.platform.audit.services import record
from deepseek.messages import N_

MAX_KEYWORDS = 20
KEYWORD = re.compile(r"[^\s,\x00-\x1f][^,\x00-\x1f]{0,39}")


def describe_dataset(
    *,
    actor: Actor,
    dataset: Dataset,
    description: str | None = None,
    card: str | None = None,
    keywords: Sequence[str] | None = None,
    revision: str | None = None,
) -> Dataset:
    """Replace what is said about a dataset; None leaves a part as it is, and no change leaves no record.

    `revision`: that of the texts the change was made from; None replaces whatever stands there. Raises Invalid for a
    text that is too long, and for a keyword that is none; StaleState where somebody else changed them meanwhile.
    """
    policy.require(actor, "dataset.describe", dataset)
    fields: dict[str, object] = {}
    if description is not None:
        check_text("description", description)
        fields["description"] = description.strip()
    if card is not None:
        check_card(card)
        fields["card"] = card.replace("\r\n", "\n").strip()
    if keywords is not None:
        fields["keywords"] = ", ".join(clean_keywords(keywords))
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        before = {name: getattr(dataset, name) for name in fields}
        changed = [name for name in fields if fields[name] != before[name]]
        if changed:
            require_revision(revision, read_texts(dataset))
            for name in changed:
                setattr(dataset, name, fields[name])
            dataset.save(update_fields=changed)
            record(
                actor=actor,
                action="dataset.describe",
                obj=dataset,
                before={name: before[name] for name in changed},
                after={name: fields[name] for name in changed},
            )
    return dataset


def read_texts(dataset: Dataset) -> dict[str, str]:
    """What people say about the dataset; its revision is of these texts."""
    return {name: getattr(dataset, name) for name in ("description", "keywords", "card")}


def check_card(card: str) -> None:
    if len(card) > MAX_CHARACTERS or "\x00" in card:
        raise Invalid(
            "The card has {count} characters, or holds a NUL.",
            count=len(card),
            field="card",
            limit=f"{MAX_CHARACTERS} characters",
            hint=N_("Shorten it."),
        )


def clean_keywords(keywords: Sequence[str]) -> list[str]:
    """The keywords, each once and in order. Raises Invalid for too many, and for one that is none."""
    words = list(dict.fromkeys(word.strip() for word in keywords if word.strip()))
    if len(words) > MAX_KEYWORDS:
        raise Invalid(
            "The dataset has {count} keywords.",
            count=len(words),
            field="keywords",
            limit=MAX_KEYWORDS,
            hint=N_("Remove some of them."),
        )
    for word in words:
        if not KEYWORD.fullmatch(word):
            raise Invalid(
                "{word!r} is no keyword.",
                word=word[:60],
                field="keywords",
                limit="1 to 40 characters without commas",
                hint=N_("Shorten it, or make two of it."),
            )
    return words
