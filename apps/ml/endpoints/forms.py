"""Forms of the endpoint pages. They only parse text; the services validate, and errors stand beside their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.data.datasets.forms import FieldsForm
from apps.ml.endpoints import services
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.queries import list_nodes, list_serving_nodes, list_shadow_numbers, list_variant_names
from apps.ml.endpoints.schemas import EndpointBody, EndpointChanges
from apps.ml.endpoints.services import TryAnswer
from apps.ml.registry.models import Alias
from apps.platform.accounts.models import Project
from apps.platform.jobs.serializers import read_body
from apps.platform.jobs.specforms.fields import FormItem
from deepseek.messages import N_, Message

MAX_FIELDS = 40  # features that get a field each; of more the form is one field of JSON
MAX_ALIASES = 200


class EndpointForm(FieldsForm):
    field_names = ("name", "model", "nodes", "replicas")
    renamed_fields = {"alias": "model"}

    def __init__(self, project: Project, data: Mapping[str, Any] | None = None) -> None:
        names = ", ".join(node.name for node in list_serving_nodes() if getattr(node, "online", False))
        super().__init__(data if data is not None else {"replicas": "1", "nodes": names})
        self.project = project

    def save(self, actor: Actor) -> Endpoint | None:
        """The endpoint, or None with `errors` where something is wrong."""
        model, _at, alias = self.values["model"].rpartition("@")
        replicas = self.values["replicas"].strip()
        document = {
            "name": self.values["name"].strip(),
            "model": model,
            "alias": alias,
            "nodes": split_names(self.values["nodes"]),
            "replicas": int(replicas) if replicas.isdecimal() else replicas,
        }
        try:
            body = read_body(EndpointBody, document)
            return services.create_endpoint(actor=actor, project=self.project, body=body)
        except Refused:
            raise  # recorded, and shown on the page of refusals
        except PlaneError as failure:
            self.refuse(failure)
            return None

    @property
    def items(self) -> list[FormItem]:
        aliases = Alias.objects.filter(model__project=self.project, model__deleted_at=None).select_related("model")
        refs = [f"{alias.model.name}@{alias.name}" for alias in aliases.order_by("model__name", "name")[:MAX_ALIASES]]
        return [
            self.build_item(
                "name",
                _("Name"),
                required=True,
                limit=_("1 to 50 lower-case letters, digits and hyphens"),
                doc=_("Part of the address; it stays."),
            ),
            self.build_item(
                "model",
                _("Model and alias"),
                control="select",
                required=True,
                choices=[(ref, ref) for ref in refs],
                doc=_("The servers follow the alias: when it moves, they swap without a failed request."),
            ),
            self.build_item(
                "nodes",
                _("Nodes"),
                required=True,
                limit=_("names, comma-separated"),
                doc=_("Each runs the servers and keeps them alive."),
            ),
            self.build_item("replicas", _("Servers on each node"), control="number", keys="numeric", required=True),
        ]


class EndpointSettingsForm(FieldsForm):
    """What may change while it serves: the same as PATCH takes."""

    field_names = ("nodes", "replicas", "variant", "sampling_rate", "shadow_version", "shadow_rate")
    renamed_fields = {
        "shadow": "shadow_version",
        "shadow/version": "shadow_version",
        "shadow/rate": "shadow_rate",
    }

    def __init__(self, endpoint: Endpoint, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data if data is not None else read_settings(endpoint))
        self.endpoint = endpoint

    def save(self, actor: Actor) -> bool:
        """Whether the changes were made; where not, `errors` say why."""
        shadow = None
        if self.values["shadow_version"]:
            rate = {"rate": self.read_number("shadow_rate")} if self.values["shadow_rate"].strip() else {}
            shadow = {"version": self.read_number("shadow_version"), **rate}
        document = {
            "nodes": split_names(self.values["nodes"]),
            "replicas": self.read_number("replicas"),
            "variant": self.values["variant"],
            "sampling_rate": self.read_number("sampling_rate"),
            "shadow": shadow,
        }
        try:
            changes = read_body(EndpointChanges, document)
            services.update_endpoint(actor=actor, endpoint=self.endpoint, changes=changes)
        except Refused:
            raise
        except PlaneError as failure:
            self.refuse(failure)
            return False
        return True

    def read_number(self, name: str) -> float | str:
        """The number that was typed; the text itself where it is none, for the service to refuse."""
        text = self.values[name].strip()
        try:
            return int(text) if text.isdecimal() else float(text)
        except ValueError:
            return text

    @property
    def items(self) -> list[FormItem]:
        rate = _("0 to 1")
        return [
            self.build_item("nodes", _("Nodes"), required=True, limit=_("names, comma-separated")),
            self.build_item("replicas", _("Servers on each node"), control="number", keys="numeric", required=True),
            self.build_item(
                "variant",
                _("Variant"),
                control="select",
                required=True,
                choices=[(name, name) for name in list_variant_names(self.endpoint)],
                doc=_("The servers swap to it without a failed request."),
            ),
            self.build_item(
                "sampling_rate",
                _("Sampling rate"),
                required=True,
                keys="decimal",
                limit=rate,
                doc=_("The share of predictions that is kept, chosen by their ids. A change starts the servers again."),
            ),
            self.build_item(
                "shadow_version",
                _("Version in shadow"),
                control="select",
                choices=[("", _("none")), *((str(n), f"v{n}") for n in list_shadow_numbers(self.endpoint))],
                doc=_("A candidate that sees the traffic; its answers are compared and go nowhere."),
            ),
            self.build_item(
                "shadow_rate",
                _("Share that it sees"),
                keys="decimal",
                limit=_("above 0, up to 1"),
                default="1",
            ),
        ]


def read_settings(endpoint: Endpoint) -> dict[str, Any]:
    """The settings of an endpoint as the fields of its form."""
    shadow = endpoint.shadow_version
    return {
        "nodes": ", ".join(sorted(node.name for node in list_nodes(endpoint))),
        "replicas": endpoint.replicas_per_node,
        "variant": endpoint.variant,
        "sampling_rate": f"{endpoint.sampling_rate:g}",
        "shadow_version": shadow.number if shadow else "",
        "shadow_rate": f"{endpoint.shadow_rate:g}" if shadow else "",
    }


def split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class TryForm(FieldsForm):
    """A request from the signature of the version: a field for each feature, or one field of JSON."""

    def __init__(self, document: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> None:
        self.features = [str(name) for name in document["features"]]
        self.is_texts = document["task"] == "entities"
        self.by_feature = 0 < len(self.features) <= MAX_FIELDS and not self.is_texts
        count = len(self.features)
        self.field_names = tuple(f"f{place}" for place in range(count)) if self.by_feature else ("features",)
        example = '"…"' if self.is_texts else "[]"
        super().__init__(data if data is not None else dict.fromkeys(self.field_names, "0" if count else example))

    def ask(self, actor: Actor, endpoint: Endpoint) -> TryAnswer | None:
        """The answer of a server, or None with `errors` where something is wrong."""
        features = self.read_features()
        if self.errors:
            return None
        try:
            return services.predict(actor=actor, endpoint=endpoint, features=features)
        except Refused:
            raise
        except PlaneError as failure:
            self.refuse(failure)
            return None

    def read_features(self) -> Any:
        if not self.by_feature:
            try:
                return json.loads(self.values["features"])
            except ValueError:
                self.errors["features"] = Message(N_("This is no JSON."))
                return None
        numbers = []
        for name in self.field_names:
            try:
                numbers.append(float(self.values[name]))
            except ValueError:
                self.errors[name] = Message(N_("This is no number."))
        return numbers

    @property
    def items(self) -> list[FormItem]:
        if not self.by_feature:
            return [self.build_item("features", "features", control="textarea", required=True, limit="JSON")]
        labels = zip(self.field_names, self.features, strict=True)
        return [self.build_item(name, label, control="number", required=True) for name, label in labels]
