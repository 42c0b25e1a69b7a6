"""The walk through logged models and the model registry of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateways.mlflow_import import services
from apps.gateways.mlflow_import.artifact_location import Place, place_of
from apps.gateways.mlflow_import.checks import check_logged_model, check_registered, check_version
from apps.gateways.mlflow_import.files import Files
from apps.gateways.mlflow_import.source_records import (
    FoundExperiment,
    FoundLoggedModel,
    FoundRegisteredModel,
    FoundVersion,
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
    from apps.gateways.mlflow_import.importer import Taking


def take_logged_models(taking: Taking, found: FoundExperiment, experiment: Experiment | None) -> None:
    for each in taking.source.logged_models(found):
        if isinstance(each, Unreadable):
            taking.tally.source["logged models"] += 1
            taking.tally.differ(str(each))
        elif experiment is None and not taking.dry:  # why is told already
            taking.tally.source["logged models"] += 1
        else:
            one_model(taking, each, experiment)


def one_model(taking: Taking, found: FoundLoggedModel, experiment: Experiment | None) -> None:
    what = f"logged model {found.id}"
    held = LoggedModel.objects.filter(pk=found.id, project=taking.project).first()
    here = dict(LoggedModelArtifact.objects.filter(model=held).values_list("path", "size")) if held else {}
    files = Files(
        taking.actor, taking.project, taking.source, found, here, taking.dry, lambda line: taking.note(what, line)
    )
    with taking.guarded(what):
        check_logged_model(found)
        stored = files.store()
        if not taking.dry and experiment is not None:
            held = services.take_logged_model(
                actor=taking.actor, experiment=experiment, source=taking.source.name, found=found, files=stored
            )
    taking.tally.compare(
        what,
        {
            "logged models": 1,
            "model params": len(found.params),
            "model tags": len(found.tags),
            "model metrics": len(found.metrics),
            "model files": files.count,
            "model bytes": files.bytes,
        },
        counts_of(held, found, files) if held is not None else {},
        quiet=taking.dry,
    )


def counts_of(model: LoggedModel, found: FoundLoggedModel, files: Files) -> dict[str, int]:
    params = dict(LoggedModelParam.objects.filter(model=model).values_list("key", "value"))
    tags = dict(LoggedModelTag.objects.filter(model=model).values_list("key", "value"))
    names = ("key", "dataset_name", "dataset_digest", "run_id")
    held = set(LoggedModelMetric.objects.filter(model=model).values_list(*names))
    return {
        "logged models": 1,
        "model params": sum(params.get(key) == value for key, value in found.params.items()),
        "model tags": sum(tags.get(key) == value for key, value in found.tags.items()),
        "model metrics": sum(tuple(getattr(each, name) for name in names) in held for each in found.metrics),
        **files.held(LoggedModelArtifact.objects.filter(model=model), "model "),
    }


# -- the registry ---------------------------------------------------------------------------------------------------
def take_registry(taking: Taking, *, only_taken: bool) -> None:
    """Registered models, versions, aliases; `only_taken`: no versions but those whose run or logged model is here."""
    for each in taking.source.registered_models():
        if isinstance(each, Unreadable):
            taking.tally.source["registered models"] += 1
            taking.tally.differ(str(each))
        else:
            one_registered(taking, each, only_taken=only_taken)


def one_registered(taking: Taking, found: FoundRegisteredModel, *, only_taken: bool) -> None:
    what = f"registered model {found.name!r}"
    model = Model.objects.filter(project=taking.project, name=found.name, deleted_at=None).first()
    known, taken = False, dict[int, ModelVersion]()
    for each in taking.source.versions(found):
        if isinstance(each, Unreadable):
            taking.tally.source["versions"] += 1
            taking.tally.differ(str(each))
            continue
        called = f"version {each.number} of {each.name!r}"
        place = None
        with taking.guarded(called):
            place = place_of(taking.project, each)
        if place is None:
            taking.tally.source["versions"] += 1
            continue
        if only_taken and place.run is None and place.logged_model is None:
            continue
        model, known = taken_model(taking, found, model) if not known else model, True
        version = one_version(taking, each, place, model)
        if version is not None:
            taken[each.number] = version
    if not known and only_taken:
        return
    if not known:
        model = taken_model(taking, found, model)
    taking.tally.compare(
        what, {"registered models": 1}, {"registered models": int(model is not None)}, quiet=taking.dry
    )
    aliases(taking, found, taken, only_taken=only_taken)


def taken_model(taking: Taking, found: FoundRegisteredModel, model: Model | None) -> Model | None:
    with taking.guarded(f"registered model {found.name!r}"):
        check_registered(found)
        if not taking.dry:
            return services.take_model(
                actor=taking.actor, project=taking.project, source=taking.source.name, found=found
            )
    return model


def one_version(taking: Taking, found: FoundVersion, place: Place, model: Model | None) -> ModelVersion | None:
    what = f"version {found.number} of {found.name!r}"
    held = ModelVersion.objects.filter(model=model, number=found.number).select_related("model").first()
    with taking.guarded(what):
        check_version(found)
        if not taking.dry and model is not None:
            held = None  # what is here under the number may be another
            held = services.take_version(
                actor=taking.actor, model=model, source=taking.source.name, found=found, place=place
            )
        if not place.files and not taking.dry:
            taking.note(what, f"no files of it are here: its source is {found.source}")
    if services.stage_of(found) == APPROVED_STAGE:
        taking.tally.to_do.append(f"{what} is in the stage Production there. {asked(found.name, found.number)}")
    taking.tally.compare(what, {"versions": 1}, {"versions": int(held is not None)}, quiet=taking.dry)
    return held


def aliases(taking: Taking, found: FoundRegisteredModel, taken: dict[int, ModelVersion], *, only_taken: bool) -> None:
    for name, number in sorted(found.aliases.items()):
        what = f"alias {name!r} of {found.name!r}"
        version = taken.get(number)
        if only_taken and version is None:
            continue
        if name.lower() in PROTECTED:
            taking.tally.to_do.append(f"{what} is at version {number} there. {asked(found.name, number)}")
            continue
        done = False
        with taking.guarded(what):
            check_imported_alias(name)
            if version is not None and taking.dry:
                done = Alias.objects.filter(model=version.model, name=name, version=version).exists()
            elif version is not None:
                done = services.take_alias(actor=taking.actor, version=version, name=name)
        taking.tally.compare(what, {"aliases": 1}, {"aliases": int(done)}, quiet=taking.dry)


def asked(name: str, number: int) -> str:
    return (
        f"It moves by approval alone: request the promotion of version {number}, on its page or by "
        f"POST .../models/{name}/versions/{number}/promote."
    )
