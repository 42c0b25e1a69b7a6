"""Forms of the device pages. They only parse text; the services validate, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apps.core.actors import Actor
from apps.core.request_values import parse_int
from apps.data.datasets.forms import FieldsForm
from apps.fleet.devices import services
from apps.fleet.devices.models import Assignment, Device, DeviceGroup, EnrolmentToken, LabelKind
from apps.fleet.devices.schemas import (
    MAX_DAYS,
    MAX_USES,
    AssignBody,
    DeviceChanges,
    DeviceGroupBody,
    EnrolmentTokenBody,
)
from apps.fleet.releases.models import Release
from apps.fleet.releases.queries import get_release, list_releases
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.platform.accounts.models import Project
from apps.platform.jobs.serializers import read_body
from apps.platform.jobs.specforms.fields import FormItem

MAX_CHOICES = 200  # releases to choose from, the newest
SECONDS_OF_HOUR = 3600


class DeviceFieldsForm(FieldsForm):
    """`save` returns what the service made, or None with `errors` where something is wrong."""

    renamed_fields = {}

    def read_integer(self, name: str) -> int | str | None:
        """The number that was typed; the text itself where it is none, for the service to refuse."""
        text = self.values[name].strip()
        number = parse_int(text)
        return (text if number is None else number) if text else None

    def read_labels(self, name: str) -> dict[str, str]:
        """`key=value` on each line; a line without = is a key without a value."""
        pairs = (line.partition("=") for line in self.values[name].splitlines() if line.strip())
        return {key.strip(): value.strip() for key, _equals, value in pairs}

    def build_tags_item(self, doc: str) -> FormItem:
        return self.build_item(
            "tags",
            _("Tags"),
            control="textarea",
            limit=_("one key=value a line, at most 100, 128 characters each"),
            doc=doc,
        )


class EnrolmentTokenForm(DeviceFieldsForm):
    field_names = ("name", "gateway", "max_uses", "days", "tags")

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data if data is not None else {"days": "7"})

    def save(self, actor: Actor, project: Project) -> tuple[EnrolmentToken | None, str]:
        """The token and its secret, or (None, "") with `errors`."""
        document = {
            "name": self.values["name"].strip(),
            "gateway": self.values["gateway"] == "true",
            "max_uses": self.read_integer("max_uses"),
            "days": self.read_integer("days"),
            "tags": self.read_labels("tags"),
        }
        document = {name: value for name, value in document.items() if value is not None}
        result = self.attempt(
            lambda: services.create_enrolment_token(
                actor=actor, project=project, body=read_body(EnrolmentTokenBody, document)
            )
        )
        return result or (None, "")

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item(
                "name", _("Name"), required=True, limit=_("1 to 80 characters"), doc=_("Who or what gets it.")
            ),
            self.build_item(
                "gateway",
                _("For several devices"),
                control="checkbox",
                doc=_("A gateway's token enrols as many as its uses; hawkBit clients authenticate with it."),
            ),
            self.build_item(
                "max_uses",
                _("Uses"),
                control="number",
                keys="numeric",
                limit=_("1 to %(most)s; a token for one device has 1") % {"most": f"{MAX_USES:,}"},
            ),
            self.build_item(
                "days",
                _("Valid for"),
                control="number",
                keys="numeric",
                required=True,
                unit=_("days"),
                limit=_("1 to %(most)s days") % {"most": MAX_DAYS},
            ),
            self.build_tags_item(_("What devices that it enrols begin with.")),
        ]


class GroupForm(DeviceFieldsForm):
    field_names = ("name", "query", "description")

    def save(self, actor: Actor, project: Project) -> DeviceGroup | None:
        document = {name: self.values[name].strip() for name in self.field_names}
        group: DeviceGroup | None = self.attempt(
            lambda: services.create_group(actor=actor, project=project, body=read_body(DeviceGroupBody, document))
        )
        return group

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item(
                "name", _("Name"), required=True, limit=_("1 to 50 lower-case letters, digits and hyphens")
            ),
            self.build_item(
                "query",
                _("Query"),
                required=True,
                limit=_("at most 2,000 characters, 20 comparisons joined by AND"),
                doc=_(
                    "Compares name, state, kind, architecture, health, agent_version, tag.KEY or attribute.KEY:"
                    " tag.site = 'berlin' AND architecture = 'aarch64'"
                ),
            ),
            self.build_item("description", _("Description"), limit=_("at most 500 characters")),
        ]


class DeviceForm(DeviceFieldsForm):
    """What people say of a device: its tags, a note, and how many of its predictions it sends."""

    field_names = ("tags", "note", "sampling_rate")

    def __init__(self, device: Device, data: Mapping[str, Any] | None = None) -> None:
        self.device = device
        super().__init__(data if data is not None else self.read_device())

    def read_device(self) -> dict[str, str]:
        tags = sorted((label.key, label.value) for label in self.device.labels.all() if label.kind == LabelKind.TAG)
        return {
            "tags": "\n".join(f"{key}={value}" if value else key for key, value in tags),
            "note": self.device.note,
            "sampling_rate": f"{self.device.sampling_rate:g}",
        }

    def save(self, actor: Actor) -> Device | None:
        rate = self.values["sampling_rate"].strip()
        document: dict[str, Any] = {"tags": self.read_labels("tags"), "note": self.values["note"].strip()}
        try:
            document["sampling_rate"] = float(rate)
        except ValueError:
            document["sampling_rate"] = rate  # for the service to refuse
        device: Device | None = self.attempt(
            lambda: services.change_device(actor=actor, device=self.device, changes=read_body(DeviceChanges, document))
        )
        return device

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_tags_item(_("Groups and rollouts choose devices by them.")),
            self.build_item("note", _("Note"), limit=_("at most 500 characters")),
            self.build_item(
                "sampling_rate",
                _("Sampling rate"),
                required=True,
                limit=_("0 to 1"),
                doc=_("The share of its predictions that it sends; 0: none."),
            ),
        ]


class AssignForm(DeviceFieldsForm):
    """A release for one device, of those that its processor runs."""

    field_names = ("release", "hours", "reason")
    renamed_fields = {"deadline_seconds": "hours", "state": "release"}

    def __init__(self, actor: Actor, device: Device, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.actor = actor
        self.device = device

    def list_choices(self) -> list[tuple[str, str]]:
        rows = list_releases(self.actor, self.device.project, state=ReleaseState.ISSUED).exclude(
            key__state=KeyState.REVOKED
        )
        rows = rows.filter(architecture__in=("any", self.device.architecture)).order_by("-pk")[:MAX_CHOICES]
        return [(str(release.pk), self.describe(release)) for release in rows]

    def describe(self, release: Release) -> str:
        variant = release.variant
        return f"{release.model_name} v{variant.version.number} {variant.name}, #{release.sequence}"

    def save(self) -> Assignment | None:
        hours = self.read_integer("hours")
        document: dict[str, Any] = {"release": self.read_integer("release"), "reason": self.values["reason"].strip()}
        if hours is not None:
            document["deadline_seconds"] = hours * SECONDS_OF_HOUR if isinstance(hours, int) else hours
        assignment: Assignment | None = self.attempt(lambda: self.assign(read_body(AssignBody, document)))
        return assignment

    def assign(self, body: AssignBody) -> Assignment:
        return services.assign_release(
            actor=self.actor,
            device=self.device,
            release=get_release(self.actor, self.device.project, body.release),
            deadline_seconds=body.deadline_seconds,
            reason=body.reason,
        )

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item(
                "release",
                pgettext("signed", "Release"),
                control="select",
                required=True,
                choices=[("", _("choose one")), *self.list_choices()],
                doc=_("Signed, approved, and for its processor. What is open is superseded."),
            ),
            self.build_item(
                "hours",
                _("Deadline"),
                control="number",
                keys="numeric",
                unit=_("hours"),
                doc=_("Silence until then counts as a failure. Empty: as the plane is set."),
            ),
            self.build_item("reason", _("Reason"), limit=_("Recorded in the audit trail as written.")),
        ]
