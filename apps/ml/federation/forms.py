"""Forms of federation: a new study, and the files that are carried between planes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, TooLarge
from apps.data.datasets.forms import FieldsForm
from apps.ml.federation import services
from apps.ml.federation.bundles import MAX_BUNDLE_BYTES
from apps.ml.federation.models import SiteStudy, Study
from apps.ml.federation.queries import choose_port
from apps.ml.federation.schema_draft import draft_schema
from apps.ml.federation.services.studies import read_document
from apps.ml.federation.validation import get_named_version
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import FormItem
from deepseek.messages import N_

EXAMPLE = """{
  "target": "disease",
  "columns": [
    {"name": "age", "kind": "number", "low": 0, "high": 110},
    {"name": "sex", "kind": "category", "categories": ["0", "1"]},
    {"name": "disease", "kind": "category", "categories": ["0", "1"]}
  ]
}"""
# Field of the form -> (path in the document, what reads it).
INTEGERS = {
    "rounds": ("rounds",),
    "local_epochs": ("local_epochs",),
    "batch_size": ("batch_size",),
    "minimum_sites": ("minimum_sites",),
    "max_bytes": ("egress", "max_bytes_per_update"),
}
NUMBERS = {
    "learning_rate": ("learning_rate",),
    "mu": ("mu",),
    "trim": ("trim",),
    "max_norm": ("egress", "max_norm"),
    "epsilon": ("privacy", "epsilon"),
    "delta": ("privacy", "delta"),
    "max_grad_norm": ("privacy", "max_grad_norm"),
}
CHOICES = {
    "model": ("model", "kind"),
    "normalization": ("model", "normalization"),
    "algorithm": ("algorithm",),
    "aggregation": ("aggregation",),
}
PATHS = {**INTEGERS, **NUMBERS, **CHOICES, "schema": ("schema",), "hidden": ("model", "hidden")}
DEFAULTS = {
    "schema": EXAMPLE,
    "model": "logistic",
    "normalization": "none",
    "algorithm": "fedavg",
    "aggregation": "mean",
    "mu": "0",
    "trim": "0",
    "rounds": "10",
    "local_epochs": "1",
    "batch_size": "32",
    "learning_rate": "0.1",
    "minimum_sites": "2",
    "epsilon": "8",
    "delta": "0.00001",
    "max_grad_norm": "1",
    "max_bytes": "1000000",
    "max_norm": "100",
}


class StudyForm(FieldsForm):
    """A new study. An empty epsilon means: without differential privacy."""

    field_names = ("name", "host", "port", *PATHS)
    renamed_fields: Mapping[str, str] = {
        **{"document/" + "/".join(path): name for name, path in PATHS.items()},
        "document/model": "model",
        "document/privacy": "epsilon",
        "document/egress": "max_bytes",
        "document/name": "name",
    }

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data if data is not None else {**DEFAULTS, "port": str(choose_port())})

    def fill_schema(self, actor: Actor, project: Project, reference: str) -> None:
        """Write the schema that a dataset version suggests. Raises Invalid, NotFound."""
        schema = draft_schema(actor, get_named_version(actor, project, reference))
        self.values["schema"] = json.dumps(schema, indent=2, ensure_ascii=False)

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item(
                "name", _("Name"), required=True, limit=_("1 to 50 lower-case letters, digits and hyphens")
            ),
            self.build_item(
                "host", _("Server host"), required=True, doc=_("Where the sites reach the server of the study.")
            ),
            self.build_item("port", _("Server port"), required=True, control="number", keys="numeric"),
            self.build_item(
                "schema",
                _("Data schema"),
                required=True,
                control="textarea",
                doc=_("JSON: the columns that every site has, with limits or categories, and the target."),
            ),
            self.build_choice("model", _("Model"), {"logistic": _("Logistic regression"), "mlp": _("Neural network")}),
            self.build_item("hidden", _("Hidden layers"), doc=_("Of a neural network: widths, for instance 32, 16.")),
            self.build_choice("normalization", _("Normalization"), {"none": _("None"), "group": "GroupNorm"}),
            self.build_choice("algorithm", _("Algorithm"), {"fedavg": "FedAvg", "fedprox": "FedProx"}),
            self.build_number("mu", "Mu", _("Of FedProx: how strongly the weights stay near the global ones.")),
            self.build_number("rounds", _("Rounds")),
            self.build_number("local_epochs", _("Epochs per round")),
            self.build_number("batch_size", _("Batch size")),
            self.build_number("learning_rate", _("Learning rate")),
            self.build_choice("aggregation", _("Aggregation"), {"mean": _("Mean"), "trimmed_mean": _("Trimmed mean")}),
            self.build_number("trim", _("Trim"), _("Share of the sites left out at each end; 0 for the mean.")),
            self.build_number("minimum_sites", _("Fewest sites"), _("A round with fewer updates does not count.")),
            self.build_number(
                "epsilon", _("Epsilon"), _("Privacy budget of each site's rows; empty: no differential privacy.")
            ),
            self.build_number("delta", _("Delta")),
            self.build_number("max_grad_norm", _("Clipping norm"), _("Of the gradient of one row.")),
            self.build_number("max_bytes", _("Bytes per update"), _("A site sends nothing larger.")),
            self.build_number("max_norm", _("Largest norm"), _("A site sends no update whose weights differ by more.")),
        ]

    def build_number(self, pointer: str, label: str, doc: str = "") -> FormItem:
        keys = "numeric" if pointer in INTEGERS else "decimal"
        return self.build_item(pointer, label, control="number", keys=keys, doc=doc, required=pointer in INTEGERS)

    def build_choice(self, pointer: str, label: str, choices: Mapping[str, str]) -> FormItem:
        return self.build_item(pointer, label, control="select", choices=list(choices.items()), required=True)

    def create(self, actor: Actor, project: Project) -> Study | None:
        def write() -> Study:
            port = self.values["port"].strip()
            if not port.isascii() or not port.isdigit() or len(port) > 5:
                raise Invalid("{port!r} is no port.", port=port[:20], code="bad_port", field="port", limit="1 to 65535")
            return services.create_study(
                actor=actor,
                project=project,
                name=self.values["name"].strip(),
                host=self.values["host"].strip(),
                port=int(port),
                document=self.build_document(),
                strict=False,
            )

        study: Study | None = self.attempt(write)
        return study

    def build_document(self) -> dict[str, Any]:
        """The study document of the fields; numbers as text, which a lax parse reads, so each error has its field."""
        document: dict[str, Any] = {"privacy": {}, "egress": {}, "model": {}}
        texts = {name: self.values[name].strip() for name in PATHS}
        for name, path in (*INTEGERS.items(), *NUMBERS.items(), *CHOICES.items()):
            if texts[name]:
                part = document[path[0]] if len(path) > 1 else document
                part[path[-1]] = texts[name]
        if not texts["epsilon"]:
            document["privacy"] = None
        if texts["hidden"]:
            document["model"]["hidden"] = [part.strip() for part in texts["hidden"].split(",")]
        try:
            document["schema"] = read_document(texts["schema"])
        except Invalid as fault:
            raise Invalid(fault.message, code=fault.code, field="schema", hint=fault.hint) from None
        return document


class FileForm(FieldsForm):
    """A file of another plane, chosen or pasted."""

    field_names = ("file", "proxy", "data")
    renamed_fields: Mapping[str, str] = {
        "certificate": "file",
        "request": "file",
        "signature": "file",
        "document": "file",
    }

    def read(self, upload: UploadedFile | None) -> bytes:
        """The bytes of the file, else of the text that was pasted. Raises Invalid, TooLarge."""
        if upload is None:
            text = self.values["file"].strip()
            if not text:
                raise Invalid(
                    "No file is chosen.", code="no_file", field="file", hint=N_("Choose it, or paste its text.")
                )
            return text.encode()
        if (upload.size or 0) > MAX_BUNDLE_BYTES:
            raise TooLarge(
                "The file has {size} bytes.",
                size=upload.size or 0,
                field="file",
                limit=MAX_BUNDLE_BYTES,
                hint=N_("Give the file as it was downloaded."),
            )
        return upload.read()

    def import_study(self, actor: Actor, project: Project, upload: UploadedFile | None) -> SiteStudy | None:
        row: SiteStudy | None = self.attempt(
            lambda: services.import_study(actor=actor, project=project, content=self.read(upload))
        )
        return row
