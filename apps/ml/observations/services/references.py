"""References of features: what the training data of a version looked like, and by what layout its live features are
counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.observations.models import FeatureReference
from apps.ml.registry.models import ModelVersion
from apps.platform.audit.services import record


def store_feature_reference(
    *,
    actor: Actor,
    version: ModelVersion,
    report: str,
    layout_digest: str,
    layout: Mapping[str, Any],
    profile: Mapping[str, Any],
) -> FeatureReference:
    """Count the features of a version by this layout from now on, and compare them with this profile. The first one of
    a report stays."""
    require(actor, "observation.store_reference")
    with transaction.atomic():
        row, is_new = FeatureReference.objects.get_or_create(
            version=version,
            report=report,
            defaults={
                "layout_digest": layout_digest,
                "layout": json.dumps(layout),
                "profile": json.dumps(profile),
                "features": len(layout["features"]),
            },
        )
        if is_new:
            digests = {"report": report, "layout": layout_digest}
            facts = {"model": version.model.name, "version": version.number, "features": row.features}
            record(actor=actor, action="observation.store_reference", obj=version, after=facts, digests=digests)
    return row
