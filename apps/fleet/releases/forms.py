"""Forms of the release pages. They only parse text; the services validate, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.data.datasets.forms import FieldsForm
from apps.fleet.releases import services
from apps.fleet.releases.models import Release
from apps.fleet.releases.queries import find_released_variant, list_approved_variants
from apps.ml.registry.models import Variant
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job
from apps.platform.jobs.specforms.fields import FormItem

MAX_CHOICES = 200  # variants to choose from, of the newest versions


class VariantForm(FieldsForm):
    """Chooses a variant of an approved version."""

    choice = "variant"  # the name of the field: of two forms on a page each has its own
    field_names: tuple[str, ...] = ("variant",)
    renamed_fields = {"version": "variant"}

    def __init__(self, actor: Actor, project: Project, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.actor = actor
        self.project = project

    def find_variant(self) -> Variant:
        """The chosen one. Raises Invalid."""
        return find_released_variant(self.actor, self.project, self.values[self.choice])

    @property
    def items(self) -> list[FormItem]:
        variants = list_approved_variants(self.actor, self.project)[:MAX_CHOICES]
        choices = [(str(variant.pk), f"{variant.version} {variant.name}, {variant.format}") for variant in variants]
        return [
            self.build_item(
                self.choice,
                _("Variant"),
                control="select",
                required=True,
                choices=[("", _("choose one")), *choices],
                doc=_("Of versions whose promotion was approved. Devices run onnx and tvm without PyTorch."),
            )
        ]


class ReleaseForm(VariantForm):
    field_names = ("variant", "without_samples")

    def save(self) -> Release | None:
        without = self.values["without_samples"] == "true"
        release: Release | None = self.attempt(
            lambda: services.issue_release(actor=self.actor, variant=self.find_variant(), without_samples=without)
        )
        return release

    @property
    def items(self) -> list[FormItem]:
        return [
            *super().items,
            self.build_item(
                "without_samples",
                _("Release it without samples"),
                control="checkbox",
                doc=_("Devices then only open it, and compare no answers."),
            ),
        ]


class SamplesForm(VariantForm):
    choice = "samples_of"
    field_names = ("samples_of",)
    renamed_fields = {"variant": "samples_of"}

    def save(self) -> Job | None:
        job: Job | None = self.attempt(self.request_samples)
        return job

    def request_samples(self) -> Job:
        return services.request_samples(actor=self.actor, variant=self.find_variant())[0]
