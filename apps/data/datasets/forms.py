"""Forms of the dataset pages: an upload with its name and CSV dialect, or an empty dataset.

They only parse text; the services validate. Errors are shown beside their fields, as in the form of a spec.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, Refused
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.data.datasets.ingest.uploads import HEAD_BYTES, ingest_csv, ingest_files, ingest_table
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_added, measure_version
from apps.data.datasets.versions import registration
from apps.data.datasets.versions.manifest import (
    CSV,
    PARQUET,
    TABLES,
    check_dialect_options,
    check_kind,
    detect_table_kind,
    format_csv_type,
    get_table_path,
    guess_media_type,
)
from apps.platform.accounts.models import Project
from apps.platform.artifacts.services import publish_upload
from apps.platform.jobs.models import Job
from apps.platform.jobs.specforms.fields import FormItem
from deepseek.messages import Message
from deepseek.tables.csv_dialect import AUTO, CsvDialect
from deepseek.tables.csv_faults import ENCODINGS
from deepseek.tables.part_manifest import is_part_path

TAB = "\t"
NOTE_LIMIT = 500
UploadResult = tuple[DatasetVersion, bool] | Job
"""A version and whether it is new, or the job that makes it once it has checked it."""
DELIMITERS = {",": ",", ";": ";", "tab": TAB, "|": "|"}


class FieldsForm:
    """Named fields with values and errors, rendered like the form of a spec."""

    field_names: tuple[str, ...] = ()
    renamed_fields: Mapping[str, str] = {
        "name": "dataset",
        "digest": "file",
        "files": "file",
    }  # as a service names it -> here

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        source = data or {}
        self.values = {name: str(source.get(name, "")) for name in self.field_names}
        self.errors: dict[str, str] = {}
        self.error = ""

    def refuse(self, failure: PlaneError) -> None:
        """Put each error beside the field that it names, the others on top, each with its limit and remedy."""
        for each in failure.errors:
            field = str(each.get("field") or "").strip("/")
            text = translate_error(each)
            name = self.renamed_fields.get(field, field)
            if name not in self.field_names:  # a place in a list
                first = name.partition("/")[0]
                name = self.renamed_fields.get(first, first)
            if name in self.field_names:
                self.errors.setdefault(name, text)
            else:
                self.error = f"{self.error} {text}".strip()

    def attempt(self, write: Callable[[], Any]) -> Any:
        """What `write` returns, or None with `errors` where a service refuses it."""
        try:
            return write()
        except Refused:
            raise  # recorded, and shown on the page of refusals
        except PlaneError as failure:
            self.refuse(failure)
            return None

    @property
    def items(self) -> list[FormItem]:
        return []

    @property
    def problems(self) -> list[FormItem]:
        """The fields that have an error, in the order of the page."""
        return [item for item in self.items if item.error]

    def build_item(self, pointer: str, label: str, **more: Any) -> FormItem:
        error = self.errors.get(pointer, "")
        return FormItem(
            kind="field", pointer=pointer, label=label, value=self.values.get(pointer, ""), error=error, **more
        )


class UploadForm(FieldsForm):
    field_names = ("dataset", "file", "delimiter", "encoding", "note", "measure")

    @property
    def items(self) -> list[FormItem]:
        """The fields but the file, whose control is the template's own."""
        delimiters = [
            (AUTO, _("auto-detect")),
            (",", _("comma")),
            (";", _("semicolon")),
            ("tab", _("tab")),
            ("|", _("bar")),
        ]
        return [
            self.build_item(
                "dataset",
                _("Dataset"),
                required=True,
                limit=_("1 to 50 lower-case letters, digits and hyphens"),
                doc=_("A new name makes a dataset; a known one gets a new version."),
            ),
            self.build_item(
                "delimiter",
                _("Delimiter"),
                control="select",
                required=True,
                choices=delimiters,
                doc=_("Of a CSV file: the character between the cells of a row."),
            ),
            self.build_item(
                "encoding",
                _("Encoding"),
                control="select",
                required=True,
                choices=[(AUTO, _("auto-detect")), *((name, name) for name in ENCODINGS)],
                doc=_("Of a CSV file; gb18030 also reads GBK and GB2312."),
            ),
            self.build_item(
                "note",
                _("Note"),
                limit=_("up to 500 characters"),
                doc=_("Stands in the record of this version."),
            ),
            self.build_item(
                "measure",
                _("Profile after upload"),
                control="checkbox",
                required=True,
                doc=_("A job reads it through: distributions, correlations, drift from the version before."),
            ),
        ]

    def check(self) -> None:
        """Validate the fields that need no file, before one is chosen."""
        name, note = self.values["dataset"].strip(), self.values["note"].strip()
        try:
            if name:
                registration.check_name(name)
            if len(note) > NOTE_LIMIT:
                text = Message("The note has {count} characters.", count=f"{len(note):,}")
                raise Invalid(text, field="note", hint=Message("Shorten it to {limit}.", limit=NOTE_LIMIT))
        except PlaneError as failure:
            self.refuse(failure)

    def save(self, actor: Actor, project: Project, files: Sequence[UploadedFile]) -> UploadResult | None:
        """Store the file, read it through and add the version; None with `errors` where something is wrong.

        Several files are the Parquet parts of one table.
        """
        try:
            if len(files) > 1:
                return self.store_parts(actor, project, files)
            return self.store_upload(actor, project, files[0] if files else None)
        except Refused:
            raise  # recorded, and shown on the page of refusals
        except PlaneError as failure:
            self.refuse(failure)
            return None

    def store_upload(self, actor: Actor, project: Project, file: UploadedFile | None) -> UploadResult:
        name, values = self.values["dataset"].strip(), self.values
        registration.check_name(name)  # before hundreds of megabytes are stored under it
        delimiter, encoding = values["delimiter"] or AUTO, values["encoding"] or AUTO
        delimiter = DELIMITERS.get(delimiter, delimiter)
        check_dialect_options(delimiter, encoding)
        if file is None or not file.size:
            hint = _("A CSV, Parquet, JSON lines or Arrow file.")
            raise Invalid("Choose a file that is not empty.", field="file", hint=hint)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        kind, type_by_name = detect_table_kind(head), guess_media_type(file.name or "")
        if type_by_name in TABLES:
            check_kind(head, type_by_name)
        if kind != CSV:
            require(actor, "job.submit", project)
        media_type = (
            kind if kind != CSV or AUTO in (delimiter, encoding) else format_csv_type(CsvDialect(delimiter, encoding))
        )
        published = publish_upload(
            actor=actor,
            project=project,
            stream=file.chunks(),
            expected_size=file.size,
            name=file.name or get_table_path(kind),
            media_type=media_type,
        )
        if kind != CSV:
            target = {"project": project, "dataset_name": name, "artifact": published.artifact}
            return ingest_table(actor=actor, kind=kind, note=values["note"].strip(), **target)
        result = ingest_csv(
            actor=actor,
            project=project,
            dataset_name=name,
            artifact=published.artifact,
            delimiter=delimiter,
            encoding=encoding,
            note=values["note"].strip(),
        )
        is_measured = bool(values["measure"]) and is_allowed(actor, "job.submit", project)
        if is_measured and not isinstance(result, Job) and result[0].quality_id is None:
            measure_version(actor=actor, version=result[0])
        return result

    def store_parts(self, actor: Actor, project: Project, files: Sequence[UploadedFile]) -> UploadResult:
        name, note = self.values["dataset"].strip(), self.values["note"].strip()
        registration.check_name(name)
        registration.check_text("note", note)
        for file in files:
            refuse_other_part(file)
        parts = []
        for file in files:
            published = publish_upload(
                actor=actor,
                project=project,
                stream=file.chunks(),
                expected_size=file.size,
                name=str(file.name),
                media_type=PARQUET,
            )
            parts.append((str(file.name), published.artifact.digest, PARQUET))
        result = ingest_files(actor=actor, project=project, dataset_name=name, files=parts, note=note)
        if self.values["measure"] and not isinstance(result, Job):
            measure_added(actor=actor, version=result[0])
        return result


def refuse_other_part(file: UploadedFile) -> None:
    """Raise Invalid for one of several files that is no Parquet file by its name or its first bytes."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not is_part_path(file.name or "") or detect_table_kind(head) != PARQUET:
        raise Invalid(
            "{name} is no Parquet file, and several files are taken only as the parts of one table.",
            name=(file.name or "")[:60],
            code="other_kind_of_table",
            field="file",
            limit="one file, or several *.parquet of the same columns",
            hint=Message("Upload tables of other kinds one by one."),
        )


class DatasetForm(FieldsForm):
    field_names = ("dataset", "description")

    @property
    def items(self) -> list[FormItem]:
        limit = _("1 to 50 lower-case letters, digits and hyphens")
        return [
            self.build_item("dataset", _("Name"), required=True, limit=limit, doc=_("Part of the address; it stays.")),
            self.build_item("description", _("Description"), limit=_("up to 500 characters")),
        ]
