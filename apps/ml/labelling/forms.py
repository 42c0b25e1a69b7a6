"""Forms of labelling: connections, schemas, projects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.forms import FieldsForm
from apps.data.datasets.models import DatasetVersion
from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject, LabelSchemaVersion, LabelServer
from apps.ml.labelling.states import NEXT_LEVELS, TaskOrder
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import FormItem

MAX_CHOICES = 100
EXAMPLE = """{
  "level": "basic",
  "data": "text",
  "labels": [
    {"value": "PERSON", "background": "#FFA500"},
    {"value": "ORG", "background": "#00BFFF"}
  ]
}"""


class ServerForm(FieldsForm):
    """A connection; its token is never shown."""

    field_names = ("name", "url", "token")
    renamed_fields: Mapping[str, str] = {}

    def __init__(self, data: Mapping[str, Any] | None = None, server: LabelServer | None = None) -> None:
        super().__init__(data if data is not None else {"url": server.url} if server else {})
        self.server = server

    @property
    def items(self) -> list[FormItem]:
        name = self.build_item(
            "name", _("Name"), required=True, limit=_("1 to 50 lower-case letters, digits and hyphens")
        )
        address = self.build_item(
            "url", _("Address"), required=True, doc=_("Of Label Studio, on a host that the operator allows.")
        )
        token = self.build_item(
            "token",
            _("Token"),
            required=self.server is None,
            doc=_(
                "Access token or personal access token of Label Studio. It is stored encrypted and never shown again."
            ),
        )
        return [address, token] if self.server else [name, address, token]

    def save(self, actor: Actor, project: Project) -> LabelServer | None:
        token = self.values["token"]
        self.values["token"] = ""  # not sent back with an error
        url = self.values["url"]
        if self.server is not None:
            server = self.server
            done: LabelServer | None = self.attempt(
                lambda: services.update_server(actor=actor, server=server, url=url, token=token)
            )
            return done
        server_row: LabelServer | None = self.attempt(
            lambda: services.connect_server(
                actor=actor, project=project, name=self.values["name"], url=url, token=token
            )
        )
        return server_row


class SchemaForm(FieldsForm):
    """A schema as JSON, or a labelling interface of Label Studio as XML."""

    field_names = ("name", "document")
    renamed_fields: Mapping[str, str] = {"config": "document"}

    def __init__(self, data: Mapping[str, Any] | None = None, version: LabelSchemaVersion | None = None) -> None:
        usual = {"document": EXAMPLE}
        if version is not None:
            text = json.dumps(version.document, indent=2, ensure_ascii=False)
            usual = {"name": version.schema.name, "document": text}
        super().__init__(data if data is not None else usual)

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item("name", _("Name"), required=True, doc=_("A known name gets the next version.")),
            self.build_item(
                "document",
                _("Schema"),
                required=True,
                control="textarea",
                doc=_("JSON with level, data, labels, relations, fields and rules; or a labelling interface (XML)."),
            ),
        ]

    def save(self, actor: Actor, project: Project) -> LabelSchemaVersion | None:
        def write() -> LabelSchemaVersion:
            text = self.values["document"].strip()
            document: Any = text
            if not text.startswith("<"):
                try:
                    document = json.loads(text)
                except ValueError as fault:
                    raise Invalid("It is not JSON: {reason}.", reason=str(fault)[:200], field="document") from None
            if not isinstance(document, dict | str):
                raise Invalid(
                    "A schema or a configuration is missing.", field="document", limit="a JSON object, or XML"
                )
            return services.save_schema(actor=actor, project=project, name=self.values["name"], document=document)[0]

        version: LabelSchemaVersion | None = self.attempt(write)
        return version


class LabellingForm(FieldsForm):
    """A new labelling project."""

    field_names = (
        "name",
        "server",
        "schema",
        "source",
        "source_file",
        "parent",
        "prelabels",
        "order",
        "groups",
        "overlap",
        "bar",
    )
    renamed_fields: Mapping[str, str] = {}

    def __init__(
        self,
        project: Project,
        data: Mapping[str, Any] | None = None,
        *,
        before: LabellingProject | None = None,
        clearance: int = 0,
    ) -> None:
        usual = {"groups": "annotators", "overlap": "0", "bar": "0", "order": TaskOrder.SOURCE.value}
        if before is not None:  # the next level goes on where this one ended
            groups = ", ".join(before.groups.order_by("number").values_list("name", flat=True))
            usual |= {"parent": before.name, "server": before.server.name, "groups": groups}
            usual |= {"overlap": str(before.overlap), "bar": str(before.bar), "schema": self.find_next_schema(before)}
        super().__init__(data if data is not None else usual)
        self.project, self.clearance = project, clearance

    @staticmethod
    def find_next_schema(before: LabellingProject) -> str:
        """The newest schema of the level that follows; empty where there is none yet."""
        level = NEXT_LEVELS.get(before.schema.level, "")
        rows = LabelSchemaVersion.objects.filter(schema__project=before.project_id, level=level)
        version = rows.select_related("schema").order_by("-id").first()
        return f"{version.schema.name}:v{version.number}" if version else ""

    @cached_property
    def choices(self) -> tuple[list[str], list[LabelSchemaVersion], list[tuple[str, int]], list[str]]:
        """Connections, versions of schemas and datasets, and labelling projects: read once, drawn several times."""
        servers = LabelServer.objects.filter(project=self.project).order_by("name").values_list("name", flat=True)
        schemas = LabelSchemaVersion.objects.filter(schema__project=self.project)
        versions = DatasetVersion.objects.filter(
            dataset__project=self.project, dataset__security_label__lte=self.clearance, deleted_at=None
        )
        parents = LabellingProject.objects.filter(project=self.project).order_by("-id").values_list("name", flat=True)
        return (
            list(servers[:MAX_CHOICES]),
            list(schemas.select_related("schema").order_by("-id")[:MAX_CHOICES]),
            list(versions.order_by("-id").values_list("dataset__name", "number")[:MAX_CHOICES]),
            list(parents[:MAX_CHOICES]),
        )

    @property
    def items(self) -> list[FormItem]:
        servers, schemas, versions, parents = self.choices
        none = ("", _("none"))
        return [
            self.build_item(
                "name", _("Name"), required=True, limit=_("1 to 50 lower-case letters, digits and hyphens")
            ),
            self.build_item(
                "server",
                _("Connection"),
                control="select",
                choices=[(name, name) for name in servers],
                required=True,
            ),
            self.build_item(
                "schema",
                _("Schema"),
                control="select",
                choices=[(f"{row.schema.name}:v{row.number}", f"{row} ({row.level})") for row in schemas],
                required=True,
            ),
            self.build_item(
                "source",
                _("Dataset version"),
                control="select",
                choices=[none, *((f"{name}:v{number}",) * 2 for name, number in versions)],
                doc=_("Texts, images or rows; not with a level before."),
            ),
            self.build_item("source_file", _("File"), doc=_("Where the version has several that can be read.")),
            self.build_item(
                "parent",
                _("Level before"),
                control="select",
                choices=[none, *((name, name) for name in parents)],
                doc=_("Its agreed tasks go on, with their marks."),
            ),
            self.build_item(
                "prelabels", _("Pre-labels by"), doc=_("MODEL:vN of entities; annotators begin from its spans.")
            ),
            self.build_item(
                "order",
                _("Order"),
                control="select",
                choices=[(value, str(label)) for value, label in TaskOrder.choices],
                required=True,
            ),
            self.build_item(
                "groups",
                _("Groups"),
                required=True,
                doc=_("Comma-separated; one group does not see what another marks."),
            ),
            self.build_item(
                "overlap", _("Overlap"), keys="decimal", doc=_("Share of the tasks that every group marks, 0 to 1.")
            ),
            self.build_item(
                "bar", _("Agreement bar"), keys="decimal", doc=_("Krippendorff's alpha that a result needs; 0: none.")
            ),
        ]

    def create(self, actor: Actor) -> LabellingProject | None:
        def write() -> LabellingProject:
            numbers = {name: read_share(name, self.values[name]) for name in ("overlap", "bar")}
            names = ("name", "server", "schema", "source", "source_file", "parent", "prelabels", "order")
            texts = {name: self.values[name].strip() for name in names}
            groups = self.values["groups"].split(",")
            return services.create_labelling(actor=actor, project=self.project, groups=groups, **texts, **numbers)

        project_row: LabellingProject | None = self.attempt(write)
        return project_row


def read_share(field: str, text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        raise Invalid("{value} is no share.", value=text[:20], field=field, limit="0 to 1") from None
