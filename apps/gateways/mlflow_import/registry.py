"""Import the logged models and the model registry of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateways.mlflow_import import services
from apps.gateways.mlflow_import.artifact_location import ArtifactLocation, locate_artifacts
from apps.gateways.mlflow_import.checks import check_logged_model, check_registered_model, check_version
from apps.gateways.mlflow_import.files import FileImporter
from apps.gateways.mlflow_import.source_records import (
    SourceExperiment,
    SourceLoggedModel,
    SourceRegisteredModel,
    SourceVersion,
    Unreadable,
)
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
)
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.services.validation import check_imported_alias
from apps.ml.registry.states import APPROVED_STAGE, PROTECTED

if TYPE_CHECKING:
    from apps.gateways.mlflow_import.importer import Importer


def import_logged_models(
    importer: Importer, experiment_record: SourceExperiment, experiment: Experiment | None
) -> None:
    for record in importer.source.iter_logged_models(experiment_record):
        if isinstance(record, Unreadable):
            importer.report.source["logged models"] += 1
            importer.report.add_difference(str(record))
        elif experiment is None and not importer.dry:  # why is told already
            importer.report.source["logged models"] += 1
        else:
            import_logged_model(importer, record, experiment)


def import_logged_model(importer: Importer, record: SourceLoggedModel, experiment: Experiment | None) -> None:
    what = f"logged model {record.id}"
    model = LoggedModel.objects.filter(pk=record.id, project=importer.project).first()
    existing_sizes = dict(LoggedModelArtifact.objects.filter(model=model).values_list("path", "size")) if model else {}
    files = FileImporter(
        importer.actor,
        importer.project,
        importer.source,
        record,
        existing_sizes,
        importer.dry,
        lambda line: importer.add_note(what, line),
    )
    with importer.report_errors(what):
        check_logged_model(record)
        stored = files.store()
        if not importer.dry and experiment is not None:
            model = services.import_logged_model(
                actor=importer.actor, experiment=experiment, source=importer.source.name, record=record, files=stored
            )
    importer.report.compare(
        what,
        {
            "logged models": 1,
            "model params": len(record.params),
            "model tags": len(record.tags),
            "model metrics": len(record.metrics),
            "model files": files.count,
            "model bytes": files.bytes,
        },
        count_imported(model, record, files) if model is not None else {},
        quiet=importer.dry,
    )


def count_imported(model: LoggedModel, record: SourceLoggedModel, files: FileImporter) -> dict[str, int]:
    params = dict(LoggedModelParam.objects.filter(model=model).values_list("key", "value"))
    tags = dict(LoggedModelTag.objects.filter(model=model).values_list("key", "value"))
    names = ("key", "dataset_name", "dataset_digest", "run_id")
    metric_keys = set(LoggedModelMetric.objects.filter(model=model).values_list(*names))
    return {
        "logged models": 1,
        "model params": sum(params.get(key) == value for key, value in record.params.items()),
        "model tags": sum(tags.get(key) == value for key, value in record.tags.items()),
        "model metrics": sum(tuple(getattr(each, name) for name in names) in metric_keys for each in record.metrics),
        **files.count_imported(LoggedModelArtifact.objects.filter(model=model), "model "),
    }


# -- the registry ---------------------------------------------------------------------------------------------------
def import_registry(importer: Importer, *, only_imported: bool) -> None:
    """Import registered models, versions and aliases; `only_imported`: versions whose run or logged model is here."""
    for each in importer.source.iter_registered_models():
        if isinstance(each, Unreadable):
            importer.report.source["registered models"] += 1
            importer.report.add_difference(str(each))
        else:
            import_registered_model(importer, each, only_imported=only_imported)


def import_registered_model(importer: Importer, record: SourceRegisteredModel, *, only_imported: bool) -> None:
    what = f"registered model {record.name!r}"
    model = Model.objects.filter(project=importer.project, name=record.name, deleted_at=None).first()
    is_imported, versions = False, dict[int, ModelVersion]()
    for version_record in importer.source.iter_versions(record):
        if isinstance(version_record, Unreadable):
            importer.report.source["versions"] += 1
            importer.report.add_difference(str(version_record))
            continue
        label = f"version {version_record.number} of {version_record.name!r}"
        place = None
        with importer.report_errors(label):
            place = locate_artifacts(importer.project, version_record)
        if place is None:
            importer.report.source["versions"] += 1
            continue
        if only_imported and place.run is None and place.logged_model is None:
            continue
        model, is_imported = ensure_model(importer, record, model) if not is_imported else model, True
        version = import_version(importer, version_record, place, model)
        if version is not None:
            versions[version_record.number] = version
    if not is_imported and only_imported:
        return
    if not is_imported:
        model = ensure_model(importer, record, model)
    importer.report.compare(
        what, {"registered models": 1}, {"registered models": int(model is not None)}, quiet=importer.dry
    )
    import_aliases(importer, record, versions, only_imported=only_imported)


def ensure_model(importer: Importer, record: SourceRegisteredModel, model: Model | None) -> Model | None:
    with importer.report_errors(f"registered model {record.name!r}"):
        check_registered_model(record)
        if not importer.dry:
            return services.import_model(
                actor=importer.actor, project=importer.project, source=importer.source.name, record=record
            )
    return model


def import_version(
    importer: Importer, record: SourceVersion, place: ArtifactLocation, model: Model | None
) -> ModelVersion | None:
    what = f"version {record.number} of {record.name!r}"
    version = ModelVersion.objects.filter(model=model, number=record.number).select_related("model").first()
    with importer.report_errors(what):
        check_version(record)
        if not importer.dry and model is not None:
            version = None  # what is here under the number may be another
            version = services.import_version(
                actor=importer.actor, model=model, source=importer.source.name, record=record, place=place
            )
        if not place.files and not importer.dry:
            importer.add_note(what, f"no files of it are here: its source is {record.source}")
    if services.parse_stage(record) == APPROVED_STAGE:
        importer.report.to_do.append(
            f"{what} is in the stage Production there. {describe_promotion(record.name, record.number)}"
        )
    importer.report.compare(what, {"versions": 1}, {"versions": int(version is not None)}, quiet=importer.dry)
    return version


def import_aliases(
    importer: Importer, record: SourceRegisteredModel, versions: dict[int, ModelVersion], *, only_imported: bool
) -> None:
    for name, number in sorted(record.aliases.items()):
        what = f"alias {name!r} of {record.name!r}"
        version = versions.get(number)
        if only_imported and version is None:
            continue
        if name.lower() in PROTECTED:
            importer.report.to_do.append(
                f"{what} is at version {number} there. {describe_promotion(record.name, number)}"
            )
            continue
        done = False
        with importer.report_errors(what):
            check_imported_alias(name)
            if version is not None and importer.dry:
                done = Alias.objects.filter(model=version.model, name=name, version=version).exists()
            elif version is not None:
                done = services.import_alias(actor=importer.actor, version=version, name=name)
        importer.report.compare(what, {"aliases": 1}, {"aliases": int(done)}, quiet=importer.dry)


def describe_promotion(name: str, number: int) -> str:
    return (
        f"It moves by approval alone: request the promotion of version {number}, on its page or by "
        f"POST .../models/{name}/versions/{number}/promote."
    )
