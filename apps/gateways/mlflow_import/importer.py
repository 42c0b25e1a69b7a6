"""The walk through a source: experiments, their runs, their models, then the registry; each thing by one service.

What cannot be taken is named in the tally, and the walk goes on. A source that is away as a whole ends it with
Unavailable; the next import goes on from what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StorageFull, Unavailable
from apps.gateways.mlflow_import import services
from apps.gateways.mlflow_import.checks import check_experiment, check_point, check_run
from apps.gateways.mlflow_import.files import Files
from apps.gateways.mlflow_import.import_report import Tally
from apps.gateways.mlflow_import.models import ImportedRun
from apps.gateways.mlflow_import.registry import take_logged_models, take_registry
from apps.gateways.mlflow_import.source_records import (
    FoundExperiment,
    FoundRun,
    Link,
    Source,
    Unreadable,
    moment,
    unknown_experiments,
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
from apps.platform.artifacts.bulk_sql import batches

LINKED = 500  # runs whose links are noted at once
Say = Callable[[str], None]


@dataclass(slots=True)
class Taking:
    """One import. `dry`: nothing is written, and the tally compares with what is here already."""

    actor: Actor
    project: Project
    source: Source
    dry: bool = False
    say: Say = lambda line: None
    tally: Tally = field(default_factory=Tally)

    def run(self, names: Collection[str] = ()) -> Tally:
        """Take everything, or the experiments called `names` with the versions that came from them."""
        services.require_import(actor=self.actor, project=self.project)
        chosen = self.chosen(names)
        here: list[tuple[FoundExperiment, Experiment | None]] = []
        for found in chosen:
            held = self.experiment(found)
            here.append((found, held))
            self.runs(found, held)
        for found, held in here:
            take_logged_models(self, found, held)
        if not self.dry:
            self.links()
        take_registry(self, only_taken=bool(names))
        return self.tally

    def chosen(self, names: Collection[str]) -> list[FoundExperiment]:
        """All experiments of the source are few beside their runs: a list holds them."""
        found, wanted = [], set(names)
        for each in self.source.experiments():
            if isinstance(each, Unreadable):
                self.tally.differ(str(each))
            elif not names or each.name in wanted:
                found.append(each)
        missing = wanted - {each.name for each in found}
        if missing:
            raise unknown_experiments(sorted(missing))
        return found

    # -- experiments and runs ---------------------------------------------------------------------------------------
    def experiment(self, found: FoundExperiment) -> Experiment | None:
        what = f"experiment {found.name!r}"
        self.say(what)
        held = None
        with self.guarded(what):
            check_experiment(found)
            if self.dry:
                held = services.held_experiment(self.project, found)
            else:
                held = services.take_experiment(
                    actor=self.actor, project=self.project, source=self.source.name, found=found
                )
        tags = dict(ExperimentTag.objects.filter(experiment=held).values_list("key", "value")) if held else {}
        self.tally.compare(
            what,
            {"experiments": 1, "experiment tags": len(found.tags)},
            {"experiments": int(held is not None), "experiment tags": alike(found.tags, tags)},
            quiet=self.dry or held is None,
        )
        return held

    def runs(self, found: FoundExperiment, experiment: Experiment | None) -> None:
        number = 0
        for number, each in enumerate(self.source.runs(found), 1):
            if isinstance(each, Unreadable):
                self.tally.source["runs"] += 1
                self.tally.differ(str(each))
            elif experiment is None and not self.dry:  # why is told already
                self.tally.source["runs"] += 1
            else:
                self.one_run(each, experiment)
            if number % 100 == 0:
                self.say(f"experiment {found.name!r}: {number:,} runs")
        self.say(f"experiment {found.name!r}: {number:,} runs, all of them")

    def one_run(self, found: FoundRun, experiment: Experiment | None) -> None:
        what = f"run {found.id}"
        held = Run.objects.filter(pk=found.id, project=self.project).first()
        paths = dict(RunArtifact.objects.filter(run=held).values_list("path", "size")) if held else {}
        files = Files(self.actor, self.project, self.source, found, paths, self.dry, lambda line: self.note(what, line))
        points = Points(self.source, found, held, lambda line: self.note(what, line))
        run = held
        with self.guarded(what):
            check_run(found)
            stored = files.store()
            if self.dry:
                for _ in points:
                    pass
            elif experiment is not None:
                run = services.take_run(
                    actor=self.actor,
                    experiment=experiment,
                    source=self.source.name,
                    found=found,
                    files=stored,
                    points=iter(points),
                )
        tags = {key: value for key, value in found.tags.items() if key != NAME_TAG}
        self.tally.compare(
            what,
            {
                "runs": 1,
                "params": len(found.params),
                "tags": len(tags),
                "metrics": len(found.metric_keys),
                "points": points.seen,
                "datasets": len(found.datasets),
                "files": files.count,
                "bytes": files.bytes,
            },
            self.counts_of(run, found, tags, files) if run is not None else {},
            quiet=self.dry,
        )

    def counts_of(self, run: Run, found: FoundRun, tags: dict[str, str], files: Files) -> dict[str, int]:
        """What the plane has of what was found. A text that is another here does not count."""
        metrics = [row for row in Metric.objects.filter(run=run) if row.key in set(found.metric_keys)]
        held = set(RunDataset.objects.filter(run=run).values_list("name", "digest"))
        return {
            "runs": 1,
            "params": alike(found.params, dict(RunParam.objects.filter(run=run).values_list("key", "value"))),
            "tags": alike(tags, dict(RunTag.objects.filter(run=run).values_list("key", "value"))),
            "metrics": len(metrics),
            "points": sum(metric.count for metric in metrics),
            "datasets": len(held & {(each.name, each.digest) for each in found.datasets}),
            **files.held(RunArtifact.objects.filter(run=run)),
        }

    def links(self) -> None:
        waiting = ImportedRun.objects.filter(run__project=self.project, run__purging_at=None).exclude(links=[])
        waiting = waiting.order_by("run_id")
        rows = waiting.values_list("run_id", "links").iterator(chunk_size=LINKED)
        for part in batches(rows, LINKED):
            links = {
                run_id: [Link(model_id=model, direction=direction, step=step) for model, direction, step in each]
                for run_id, each in part
            }
            services.link_models(actor=self.actor, project=self.project, links=links)

    # -- what goes wrong --------------------------------------------------------------------------------------------
    def note(self, what: str, line: str) -> None:
        self.tally.differ(f"{what}: {line}")

    def guarded(self, what: str) -> Guard:
        return Guard(self, what)


class Guard:
    """What goes wrong inside with one thing is noted; what goes wrong with all of them is raised."""

    def __init__(self, taking: Taking, what: str) -> None:
        self.taking, self.what = taking, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Unavailable | StorageFull):
            return False
        if isinstance(error, Unreadable):
            self.taking.note(self.what, str(error))
            return True
        if isinstance(error, PlaneError):
            self.taking.note(self.what, error.message)
            return True
        return False


class Points:
    """The points of a run that are not here yet, one by one; `seen` counts all that the source has.

    Those that are here come first and are compared by their digest, not written again.
    """

    def __init__(self, source: Source, found: FoundRun, held: Run | None, note: Say) -> None:
        self.source, self.found, self.note = source, found, note
        rows = Metric.objects.filter(run=held) if held is not None else Metric.objects.none()
        self.here = {key: (count, digest) for key, count, digest in rows.values_list("key", "count", "digest")}
        told = ImportedRun.objects.filter(run=held).first() if held is not None else None
        self.unchanged = bool(told and told.complete and told.mark and told.mark == found.mark)
        self.seen = 0

    def __iter__(self) -> Iterator[Point]:
        if self.unchanged:
            self.seen = sum(self.here[key][0] for key in self.found.metric_keys if key in self.here)
            return
        for key in self.found.metric_keys:
            try:
                yield from self.of(key)
            except Unreadable as error:
                self.note(f"metric {key!r}: {error}")

    def of(self, key: str) -> Iterator[Point]:
        count, digest = self.here.get(key, (0, ""))
        chain, number = "", 0
        for each in self.source.history(self.found, key):
            self.seen += 1
            number += 1
            if number <= count:
                chain = series.chained(chain, each.step, each.value + 0.0)
                if number == count and chain != digest:
                    raise Unreadable("its points here are others than those there; none was added")
                continue
            yield check_point(Point(key, each.value, each.step, moment(each.at)))  # type: ignore[arg-type]


def alike(found: object, held: dict[str, str]) -> int:
    """How many texts are the same here."""
    return sum(held.get(key) == value for key, value in dict(found).items())  # type: ignore[call-overload]
