"""Import a source: experiments, their runs, their models, then the registry; each object by one service.

What cannot be imported is named in the report, and the import continues. A source that is away as a whole ends it with
Unavailable; the next import goes on from what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StorageFull, Unavailable
from apps.gateways.mlflow_import import services
from apps.gateways.mlflow_import.checks import check_experiment, check_point, check_run
from apps.gateways.mlflow_import.files import FileImporter
from apps.gateways.mlflow_import.import_report import ImportReport
from apps.gateways.mlflow_import.models import ImportedRun
from apps.gateways.mlflow_import.registry import import_logged_models, import_registry
from apps.gateways.mlflow_import.source_records import (
    Link,
    Source,
    SourceExperiment,
    SourceRun,
    Unreadable,
    parse_milliseconds,
    unknown_experiments_error,
)
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import (
    Experiment,
    ExperimentTag,
    Metric,
    Run,
    RunArtifact,
    RunDataset,
    RunParam,
    RunTag,
)
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import split_into_batches

RUNS_PER_LINK_BATCH = 500  # runs whose links are noted at once
LogLine = Callable[[str], None]


@dataclass(slots=True)
class Importer:
    """One import. `dry`: nothing is written, and the report compares with what is here already."""

    actor: Actor
    project: Project
    source: Source
    dry: bool = False
    log: LogLine = lambda line: None
    report: ImportReport = field(default_factory=ImportReport)

    def run(self, names: Collection[str] = ()) -> ImportReport:
        """Take everything, or the experiments called `names` with the versions that came from them."""
        services.require_import(actor=self.actor, project=self.project)
        records = self.select_experiments(names)
        pairs: list[tuple[SourceExperiment, Experiment | None]] = []
        for record in records:
            experiment = self.import_experiment(record)
            pairs.append((record, experiment))
            self.import_runs(record, experiment)
        for record, experiment in pairs:
            import_logged_models(self, record, experiment)
        if not self.dry:
            self.import_links()
        import_registry(self, only_imported=bool(names))
        return self.report

    def select_experiments(self, names: Collection[str]) -> list[SourceExperiment]:
        """All experiments of the source are few beside their runs: a list holds them."""
        records, requested = [], set(names)
        for record in self.source.iter_experiments():
            if isinstance(record, Unreadable):
                self.report.add_difference(str(record))
            elif not names or record.name in requested:
                records.append(record)
        missing = requested - {record.name for record in records}
        if missing:
            raise unknown_experiments_error(sorted(missing))
        return records

    # -- experiments and runs ---------------------------------------------------------------------------------------
    def import_experiment(self, record: SourceExperiment) -> Experiment | None:
        what = f"experiment {record.name!r}"
        self.log(what)
        experiment = None
        with self.report_errors(what):
            check_experiment(record)
            if self.dry:
                experiment = services.find_experiment(self.project, record)
            else:
                experiment = services.import_experiment(
                    actor=self.actor, project=self.project, source=self.source.name, record=record
                )
        tags = (
            dict(ExperimentTag.objects.filter(experiment=experiment).values_list("key", "value")) if experiment else {}
        )
        self.report.compare(
            what,
            {"experiments": 1, "experiment tags": len(record.tags)},
            {"experiments": int(experiment is not None), "experiment tags": count_equal_texts(record.tags, tags)},
            quiet=self.dry or experiment is None,
        )
        return experiment

    def import_runs(self, record: SourceExperiment, experiment: Experiment | None) -> None:
        number = 0
        for number, run_record in enumerate(self.source.iter_runs(record), 1):
            if isinstance(run_record, Unreadable):
                self.report.source["runs"] += 1
                self.report.add_difference(str(run_record))
            elif experiment is None and not self.dry:  # why is told already
                self.report.source["runs"] += 1
            else:
                self.import_run(run_record, experiment)
            if number % 100 == 0:
                self.log(f"experiment {record.name!r}: {number:,} runs")
        self.log(f"experiment {record.name!r}: {number:,} runs, all of them")

    def import_run(self, record: SourceRun, experiment: Experiment | None) -> None:
        what = f"run {record.id}"
        existing_run = Run.objects.filter(pk=record.id, project=self.project).first()
        paths = dict(RunArtifact.objects.filter(run=existing_run).values_list("path", "size")) if existing_run else {}
        files = FileImporter(
            self.actor, self.project, self.source, record, paths, self.dry, lambda line: self.add_note(what, line)
        )
        points = NewPoints(self.source, record, existing_run, lambda line: self.add_note(what, line))
        run = existing_run
        with self.report_errors(what):
            check_run(record)
            stored = files.store()
            if self.dry:
                for _ in points:
                    pass
            elif experiment is not None:
                run = services.import_run(
                    actor=self.actor,
                    experiment=experiment,
                    source=self.source.name,
                    record=record,
                    files=stored,
                    points=iter(points),
                )
        tags = {key: value for key, value in record.tags.items() if key != NAME_TAG}
        self.report.compare(
            what,
            {
                "runs": 1,
                "params": len(record.params),
                "tags": len(tags),
                "metrics": len(record.metric_keys),
                "points": points.count,
                "datasets": len(record.datasets),
                "files": files.count,
                "bytes": files.bytes,
            },
            self.count_imported(run, record, tags, files) if run is not None else {},
            quiet=self.dry,
        )

    def count_imported(self, run: Run, record: SourceRun, tags: dict[str, str], files: FileImporter) -> dict[str, int]:
        """What the plane has of what was found. A text that is another here does not count."""
        metrics = [row for row in Metric.objects.filter(run=run) if row.key in set(record.metric_keys)]
        datasets = set(RunDataset.objects.filter(run=run).values_list("name", "digest"))
        return {
            "runs": 1,
            "params": count_equal_texts(
                record.params, dict(RunParam.objects.filter(run=run).values_list("key", "value"))
            ),
            "tags": count_equal_texts(tags, dict(RunTag.objects.filter(run=run).values_list("key", "value"))),
            "metrics": len(metrics),
            "points": sum(metric.count for metric in metrics),
            "datasets": len(datasets & {(each.name, each.digest) for each in record.datasets}),
            **files.count_imported(RunArtifact.objects.filter(run=run)),
        }

    def import_links(self) -> None:
        pending = ImportedRun.objects.filter(run__project=self.project, run__purging_at=None).exclude(links=[])
        pending = pending.order_by("run_id")
        rows = pending.values_list("run_id", "links").iterator(chunk_size=RUNS_PER_LINK_BATCH)
        for batch in split_into_batches(rows, RUNS_PER_LINK_BATCH):
            links = {
                run_id: [Link(model_id=model, direction=direction, step=step) for model, direction, step in each]
                for run_id, each in batch
            }
            services.link_models(actor=self.actor, project=self.project, links=links)

    # -- what goes wrong --------------------------------------------------------------------------------------------
    def add_note(self, what: str, line: str) -> None:
        self.report.add_difference(f"{what}: {line}")

    def report_errors(self, what: str) -> ErrorReporter:
        return ErrorReporter(self, what)


class ErrorReporter:
    """What goes wrong inside with one thing is noted; what goes wrong with all of them is raised."""

    def __init__(self, importer: Importer, what: str) -> None:
        self.importer, self.what = importer, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Unavailable | StorageFull):
            return False
        if isinstance(error, Unreadable):
            self.importer.add_note(self.what, str(error))
            return True
        if isinstance(error, PlaneError):
            self.importer.add_note(self.what, error.message)
            return True
        return False


class NewPoints:
    """The points of a run that are not here yet, one by one; `count` is how many the source has.

    Those that are here come first and are compared by their digest, not written again.
    """

    def __init__(self, source: Source, record: SourceRun, existing_run: Run | None, note: LogLine) -> None:
        self.source, self.record, self.add_note = source, record, note
        rows = Metric.objects.filter(run=existing_run) if existing_run is not None else Metric.objects.none()
        self.existing = {key: (count, digest) for key, count, digest in rows.values_list("key", "count", "digest")}
        imported = ImportedRun.objects.filter(run=existing_run).first() if existing_run is not None else None
        self.unchanged = bool(imported and imported.complete and imported.mark and imported.mark == record.mark)
        self.count = 0

    def __iter__(self) -> Iterator[Point]:
        if self.unchanged:
            self.count = sum(self.existing[key][0] for key in self.record.metric_keys if key in self.existing)
            return
        for key in self.record.metric_keys:
            try:
                yield from self.iter_metric(key)
            except Unreadable as error:
                self.add_note(f"metric {key!r}: {error}")

    def iter_metric(self, key: str) -> Iterator[Point]:
        count, digest = self.existing.get(key, (0, ""))
        chain, number = "", 0
        for point in self.source.iter_points(self.record, key):
            self.count += 1
            number += 1
            if number <= count:
                chain = series.extend_digest(chain, point.step, point.value + 0.0)
                if number == count and chain != digest:
                    raise Unreadable("its points here are others than those there; none was added")
                continue
            yield check_point(Point(key, point.value, point.step, parse_milliseconds(point.at)))  # type: ignore[arg-type]


def count_equal_texts(source_texts: object, plane_texts: dict[str, str]) -> int:
    """How many texts are the same here."""
    return sum(plane_texts.get(key) == value for key, value in dict(source_texts).items())  # type: ignore[call-overload]
