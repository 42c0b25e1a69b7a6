"""Sweeps that go out: in a list, whole, and their trials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.queries import find_best_trial, get_trial_run
from apps.ml.sweeps.schemas import load_request
from apps.ml.sweeps.states import TrialState

LINKS = {"self": "api-sweep", "trials": "api-sweep-trials", "cancel": "api-sweep-cancel"}


class TrialCountsField(serializers.Serializer[Any]):
    planned = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    pruned = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class SweepLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    trials = serializers.CharField()
    cancel = serializers.CharField()


class TrialSerializer(serializers.ModelSerializer[SweepTrial]):
    """One trial. Needs `project` (the slug) and `names` of the parameters in the context."""

    values = serializers.SerializerMethodField(help_text="{parameter: value}.")
    job = serializers.IntegerField(source="job_id", allow_null=True)
    run = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField(help_text="Why it was pruned, failed or cancelled.")

    class Meta:
        model = SweepTrial
        fields = ("number", "state", "values", "objective", "step", "reason", "job", "run", "created_at", "ended_at")
        read_only_fields = fields

    @extend_schema_field(serializers.DictField())
    def get_values(self, trial: SweepTrial) -> dict[str, Any]:
        return dict(zip(self.context["names"], trial.values, strict=True))

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_run(self, trial: SweepTrial) -> str | None:
        run = get_trial_run(trial)
        return run.pk if run is not None else None

    def get_reason(self, trial: SweepTrial) -> str:
        return str(trial.end_reason.get("message", ""))


class SweepSerializer(serializers.ModelSerializer[Sweep]):
    """A sweep in a list. Needs `project` (the slug) and `counts` of its trials by state in the context."""

    run = serializers.CharField(source="run_id", help_text="The parent of the trials' runs.")
    counts = serializers.SerializerMethodField(help_text="Trials by state.")
    reason = serializers.SerializerMethodField(help_text="Why it ended, if not because all trials were made.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Sweep
        fields: tuple[str, ...] = (
            "id",
            "name",
            "kind",
            "state",
            "counts",
            "requester",
            "run",
            "reason",
            "created_at",
            "ended_at",
            "links",
        )
        read_only_fields = fields

    @extend_schema_field(TrialCountsField)
    def get_counts(self, sweep: Sweep) -> dict[str, int]:
        counts: Mapping[str, int] = self.context["counts"][sweep.pk]
        return {state: counts.get(state, 0) for state in TrialState.values}

    def get_reason(self, sweep: Sweep) -> str:
        return str(sweep.end_reason.get("message", ""))

    @extend_schema_field(SweepLinks)
    def get_links(self, sweep: Sweep) -> dict[str, str]:
        where = {"project": self.context["project"], "pk": sweep.pk}
        return {rel: reverse(name, kwargs=where) for rel, name in LINKS.items()}


class SweepDetailSerializer(SweepSerializer):
    """A sweep whole. Needs its `trials` in the context, too."""

    settings = serializers.SerializerMethodField(help_text="What it varies and looks for.")
    spec = serializers.SerializerMethodField(help_text="Of the jobs, without a trial's values.")
    best = serializers.SerializerMethodField(help_text="The best trial that has succeeded.")

    class Meta(SweepSerializer.Meta):
        fields = (*SweepSerializer.Meta.fields, "settings", "spec", "best", "importance", "document_digest")
        read_only_fields = fields

    @extend_schema_field(serializers.DictField())
    def get_settings(self, sweep: Sweep) -> dict[str, Any]:
        return dict(json.loads(sweep.document)["settings"])

    @extend_schema_field(serializers.DictField())
    def get_spec(self, sweep: Sweep) -> dict[str, Any]:
        return dict(json.loads(sweep.document)["job"]["spec"])

    @extend_schema_field(TrialSerializer(allow_null=True))
    def get_best(self, sweep: Sweep) -> dict[str, Any] | None:
        settings = load_request(sweep).settings
        best = find_best_trial(self.context["trials"], settings)
        if best is None:
            return None
        return dict(TrialSerializer(best, context={"names": [each.name for each in settings.space]}).data)
