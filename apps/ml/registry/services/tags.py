"""Tags of models and of their versions: keys with one value each, the same that MLflow's clients read and set."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.ml.registry.filters import PROMPT
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.services.clients import touch
from apps.ml.registry.services.models import lock_model, update_model
from apps.ml.registry.services.tag_records import build_recorded_tags, build_tag_digests
from apps.ml.registry.services.validation import check_tag
from apps.platform.audit import services as audit
from deepseek.messages import N_

MAX_TAGS = 500  # of one model, and of one version


def tag_model(*, actor: Actor, model: Model, key: str, value: str) -> None:
    """Set a tag, or another value of one that is there. Raises Invalid for the key, the value and too many tags."""
    policy.require(actor, "model.annotate", model)
    check_tag(key, value)
    check_prompt(key, value)
    with transaction.atomic():
        lock_model(model)
        before = set_tag(model, key, value)
        update_model(model)
        record_tag(actor, "model.tag", model, key, before, value)


def untag_model(*, actor: Actor, model: Model, key: str) -> bool:
    """Remove a tag; False if there was none."""
    policy.require(actor, "model.annotate", model)
    with transaction.atomic():
        lock_model(model)
        before = remove_tag(model, key)
        if before:
            update_model(model)
            record_tag(actor, "model.untag", model, key, before, None)
    return bool(before)


def tag_version(*, actor: Actor, version: ModelVersion, key: str, value: str) -> None:
    """Set a tag, or another value of one that is there. Raises Invalid for the key, the value and too many tags."""
    policy.require(actor, "model.annotate", version.model)
    check_tag(key, value)
    check_prompt(key, value)
    with transaction.atomic():
        touch(version)
        before = set_tag(version, key, value)
        record_tag(actor, "model.tag_version", version, key, before, value)


def untag_version(*, actor: Actor, version: ModelVersion, key: str) -> bool:
    """Remove a tag; False if there was none."""
    policy.require(actor, "model.annotate", version.model)
    with transaction.atomic():
        before = remove_tag(version, key)
        if before:
            touch(version)
            record_tag(actor, "model.untag_version", version, key, before, None)
    return bool(before)


def set_tag(owner: Model | ModelVersion, key: str, value: str) -> dict[str, str]:
    """Set it and return what it was before, {key: value} or {}. The owner's row is locked."""
    previous = owner.tags.filter(key=key).values_list("value", flat=True).first()
    if previous is None and owner.tags.count() >= MAX_TAGS:
        raise Invalid("It has {count} tags.", count=MAX_TAGS, field="key", limit=MAX_TAGS, hint=N_("Remove one first."))
    owner.tags.set_value(key, value)
    return {} if previous is None else {key: previous}


def remove_tag(owner: Model | ModelVersion, key: str) -> dict[str, str]:
    """Remove it and return what it was, {key: value} or {}."""
    previous = owner.tags.filter(key=key).values_list("value", flat=True).first()
    return {key: previous} if previous is not None and owner.tags.delete_key(key) else {}


def record_tag(
    actor: Actor, action: str, owner: Model | ModelVersion, key: str, before: Mapping[str, str], value: str | None
) -> None:
    """The record of a tag that was set, or removed where `value` is None."""
    audit.record(
        actor=actor,
        action=action,
        obj=owner,
        before=build_recorded_tags(before),
        after={} if value is None else build_recorded_tags({key: value}),
        digests=build_tag_digests(before, value),
    )


def check_prompt(key: str, value: str) -> None:
    """MLflow's clients take a model with this tag for a prompt, and lists of models leave it out."""
    if key == PROMPT and value.lower() == "true":
        raise Invalid(
            "The tag {key} would make it a prompt.",
            key=PROMPT,
            field="key",
            limit="no prompts",
            hint=N_("Choose another key; keep the text of a prompt as an artifact of a run."),
        )
