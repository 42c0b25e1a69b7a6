"""The charts beside the list: the panels of the project, or the usual ones, over the lines of the selected runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.ml.experiments import presenters
from apps.ml.experiments.metrics import chart_options
from apps.ml.experiments.metrics.chart_options import ChartOptions
from apps.ml.experiments.metrics.lines import Line
from apps.ml.experiments.metrics.series import SYSTEM
from apps.ml.experiments.models import Metric, Run, RunPanel
from apps.ml.experiments.queries import ingest_for_runs, is_loss
from apps.ml.experiments.run_labels import label_runs
from apps.ml.experiments.services.panels import MAX_PANELS
from apps.platform.accounts.models import Project

MAX_LINES = 20  # of a chart: twenty lines have twenty signs
MAX_KEYS = 200  # metrics that a new panel offers
USUAL_PANELS = 2
LABEL = 28
MAX_ID = 2**63 - 1


@dataclass(slots=True)
class PanelChart:
    """A panel as the page draws it."""

    title: str
    panel: RunPanel | None  # None: a usual one, which nobody saved
    chart: dict[str, Any] | None  # None: none of the selected runs has a line of its metrics
    undrawn: int = 0  # lines beyond MAX_LINES


@dataclass(slots=True)
class SelectedCharts:
    charts: list[PanelChart] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # metrics of the selected runs that have a line


def list_panels(actor: Actor, project: Project) -> list[RunPanel]:
    """The panels of the project in the order in which they were added."""
    policy.require(actor, "run.view", project)
    return list(RunPanel.objects.visible_to(actor).filter(project=project).order_by("pk")[:MAX_PANELS])


def get_panel(actor: Actor, project: Project, pk: int) -> RunPanel:
    policy.require(actor, "run.view", project)
    panels = RunPanel.objects.visible_to(actor).filter(project=project)
    panel = panels.filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if panel is None:
        raise NotFound("There is no such panel.", field="panel")
    return panel


def build_selected_charts(
    project: Project, runs: Sequence[Run], panels: Sequence[RunPanel], look: ChartOptions
) -> SelectedCharts:
    """The charts of these runs, in their order; `look`: the visible range and the hidden lines of the address.

    Two queries, and three for each axis that a panel is drawn along.
    """
    if not runs:
        return SelectedCharts()
    ingest_for_runs(runs)
    lines = Metric.objects.filter(run__in=[run.pk for run in runs], count__gt=1)
    keys = list(lines.order_by("key").values_list("key", flat=True).distinct()[:MAX_KEYS])
    keys.sort(key=lambda key: (key.startswith(SYSTEM), not is_loss(key), key))
    usual = [RunPanel(metrics=[key]) for key in keys[:USUAL_PANELS] if not key.startswith(SYSTEM)]
    wanted = panels or usual
    metrics = list(lines.filter(key__in={key for panel in wanted for key in panel.metrics}))
    drawn = [arrange_panel(panel, metrics, runs, look) for panel in wanted]
    lines: dict[tuple[str, int], Line] = {}
    for axis in dict.fromkeys(panel.look.axis for panel in drawn):
        along = [panel for panel in drawn if panel.look.axis == axis]
        unique = {metric.pk: metric for panel in along for metric in panel.metrics}
        for line in chart_options.load_lines(list(unique.values()), runs, along[0].look) if unique else ():
            lines[axis, line.metric.pk] = line
    return SelectedCharts([draw_panel(project, panel, runs, lines) for panel in drawn], keys)


@dataclass(slots=True)
class ArrangedPanel:
    """A panel with what each of its strokes draws, before any line is read."""

    panel: RunPanel
    places: list[tuple[Run, str, Metric | None]]  # key by key in the order of the runs; None keeps a stroke free
    look: ChartOptions
    undrawn: int

    @property
    def metrics(self) -> list[Metric]:
        return [metric for _, _, metric in self.places if metric is not None]


def arrange_panel(panel: RunPanel, metrics: Sequence[Metric], runs: Sequence[Run], look: ChartOptions) -> ArrangedPanel:
    by_place = {(metric.run_id, metric.key): metric for metric in metrics}
    places = [(run, key, by_place.get((run.pk, key))) for key in panel.metrics for run in runs]
    undrawn = sum(metric is not None for _, _, metric in places[MAX_LINES:])
    look = replace(look, axis=panel.axis, scale=panel.scale, smooth=panel.smooth)
    arranged = ArrangedPanel(panel, places[:MAX_LINES], look, undrawn)
    # On one clock they would stand behind each other.
    arranged.look = chart_options.fit_axis(look, arranged.metrics, "relative")
    return arranged


def draw_panel(
    project: Project, arranged: ArrangedPanel, runs: Sequence[Run], lines: Mapping[tuple[str, int], Line]
) -> PanelChart:
    panel = arranged.panel
    saved = panel if panel.pk is not None else None
    if not arranged.metrics:
        return PanelChart(str(panel), saved, None)
    is_single = len(panel.metrics) == 1
    labels = label_runs(runs, LABEL)
    series = [
        chart_options.build_series(
            lines.get((arranged.look.axis, metric.pk)) if metric is not None else None,
            labels[run.pk] if is_single else f"{labels[run.pk]} {key}",
            reverse("experiments:detail", args=[project.slug, run.pk]),
        )
        for run, key, metric in arranged.places
    ]
    query = urlencode({"ids": ",".join(run.pk for run in runs), "key": panel.metrics}, doseq=True)
    chart = chart_options.build_chart(
        series,
        arranged.look,
        y_unit=panel.metrics[0] if is_single else "",
        csv=f"{reverse('api-runs-csv', args=[project.slug])}?{query}",
        toggles=True,
        id=f"panel-{panel.pk or 'usual-' + panel.metrics[0].replace('/', '-').replace(' ', '-')}",
    )
    return PanelChart(str(panel), saved, chart, arranged.undrawn)


def group_keys(keys: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(group, metrics) as the form of a panel offers them."""
    return [(presenters.translate_group(group), names) for group, names in presenters.group_metrics(keys)]
