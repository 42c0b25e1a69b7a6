"""Drift of features and errors, computed here because it takes NumPy and SciPy: references out of quality reports, and
the windows of monitors that watch their inputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from celery import shared_task

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.data.datasets.presenters import load_report
from apps.fleet.monitoring import services as monitoring
from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.services.drifting import LISTED_SOURCES, DriftPlan, DriftResult, HourErrors
from apps.fleet.monitoring.states import DriftVerdict, MonitorState
from apps.ml.observations.models import HourFigures
from apps.ml.observations.services import store_feature_reference
from apps.ml.registry.documents import read_document
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.provenance import list_training_data
from apps.platform.nodes.samples import get_database_now
from deepseek.drift.layout import Layout
from deepseek.drift.profile import Profile
from deepseek.drift.quality_reference import build_report_reference
from deepseek.drift.risk import RunningRisk
from deepseek.drift.stream import Adwin, Detection
from deepseek.drift.two_sample import DriftOptions, FeatureDrift, compare_profiles
from deepseek.job import EngineError

log = logging.getLogger(__name__)

RECENT = timedelta(hours=48)  # a version that answered within it gets a reference
MAX_ERRORS_PER_HOUR = 2_000  # that ADWIN is given: it searches after every 32
LISTED_FEATURES = 200  # of a window
MAX_UNSEEN = 5


@shared_task(name="workers.monitoring.drift.watch_inputs")
def watch_inputs() -> None:
    """Make the references that are missing, and evaluate the windows that have ended."""
    actor = build_plane_actor(PlaneRole.WORKER)
    build_missing_references(actor)
    evaluate_drift(actor)


# -- references -----------------------------------------------------------------------------------------------------
def build_missing_references(actor: Actor) -> int:
    """Of versions that have answered lately and are watched: the reference of their training data; how many."""
    watched = Monitor.objects.filter(state=MonitorState.ACTIVE, watches_inputs=True).values("model")
    since = get_database_now() - RECENT
    answered = HourFigures.objects.filter(hour__gte=since, version__model__in=watched).values("version").distinct()
    versions = ModelVersion.objects.filter(pk__in=answered, feature_references=None).select_related("model__project")
    return sum(build_reference(actor, version) for version in versions)


def build_reference(actor: Actor, version: ModelVersion) -> bool:
    """Store the reference of one version; False where its training data is not on this plane, or tells too little."""
    variant = version.variants.exclude(job_id=None).order_by("pk").first()
    for data in list_training_data(variant, version.model.project_id):
        report = load_report(actor, data)
        if report is None:
            continue
        features = list_watched_features(version, report)
        try:
            layout, profile = build_report_reference(report, features=features)
        except EngineError as error:
            log.info("no reference of %s: %s", version, error)
            continue
        store_feature_reference(
            actor=actor,
            version=version,
            report=data.quality_id or "",
            layout_digest=layout.digest,
            layout=layout.to_dict(),
            profile=profile.to_dict(),
        )
        return True
    return False


def list_watched_features(version: ModelVersion, report: Mapping[str, Any]) -> list[str] | None:
    """The columns that the model takes, as far as the report has them; None: all but the target."""
    document = read_document(version.document)
    columns = [str(column.get("name")) for column in report.get("columns") or []]
    feature_names = {
        str(each.get("name") if isinstance(each, Mapping) else each) for each in document.get("features") or []
    }
    chosen = [name for name in columns if name in feature_names] or [name for name in columns if name != version.target]
    return chosen or None


# -- windows --------------------------------------------------------------------------------------------------------
def evaluate_drift(actor: Actor, stopping: Callable[[], bool] = lambda: False) -> int:
    """Evaluate every window that has ended; how many. A fault in one monitor holds up no other."""
    now, count, failed = get_database_now(), 0, set()
    while True:
        evaluated = 0
        for plan in monitoring.list_due_drift(actor=actor, now=now):
            if stopping():
                return count
            if plan.monitor.pk in failed:
                continue
            try:
                window = monitoring.record_drift(actor=actor, plan=plan, result=compute_drift(plan), now=now)
                evaluated += window is not None
            except Exception:
                log.exception("drift of monitor %s", plan.monitor.pk)
                failed.add(plan.monitor.pk)
        count += evaluated
        if not evaluated:
            return count


def compute_drift(plan: DriftPlan) -> DriftResult:
    """The features of a window against the reference, and the errors that have come since the last one."""
    verdict, rows, features, by_source = compare_features(plan)
    adwin, changes = follow_errors(plan)
    risk, alarm, is_good = follow_risk(plan)
    worse = [change for change in changes if change.is_worse]
    return DriftResult(
        verdict,
        rows,
        features,
        by_source,
        adwin.to_dict(),
        risk.to_dict() if risk else None,
        describe_rise(worse[-1]) if worse else None,
        bool(changes) and not worse,
        alarm,
        is_good,
    )


def compare_features(plan: DriftPlan) -> tuple[str, int, list[dict[str, Any]], list[dict[str, Any]]]:
    if plan.reference is None:
        return DriftVerdict.UNKNOWN, 0, [], []
    layout = Layout.from_dict(json.loads(plan.reference.layout))
    reference = Profile.from_dict(json.loads(plan.reference.profile), layout)
    merged, by_source = Profile(layout), {}
    for source, text in plan.iterate_profiles():
        by_source.setdefault(source, Profile(layout)).merge(Profile.from_dict(json.loads(text), layout))
    for profile in by_source.values():
        merged.merge(profile)
    correction: Any = plan.monitor.drift_correction
    options = DriftOptions(
        alpha=plan.monitor.drift_alpha, correction=correction, min_rows=max(1, plan.monitor.min_count)
    )
    drifts = compare_profiles(reference, merged, options)
    verdict = drifts[0].verdict if drifts and merged.rows else DriftVerdict.UNKNOWN
    slices = compare_sources(reference, by_source, options) if verdict == DriftVerdict.CHANGED else []
    features = [describe_feature(drift, merged) for drift in drifts[:LISTED_FEATURES]]
    return verdict, merged.rows, features if merged.rows else [], slices


def describe_feature(drift: FeatureDrift, profile: Profile) -> dict[str, Any]:
    """One feature for the page: its verdict and tests, and how many of its cells tell nothing or are unseen."""
    feature = profile.features[drift.name]
    cells = feature.present + feature.invalid
    return {
        **drift.to_dict(),
        "missing_share": feature.invalid / cells if cells else None,
        "unseen_share": feature.unseen_count / cells if cells else None,
        "unseen": list(drift.unseen)[:MAX_UNSEEN],
    }


def compare_sources(reference: Profile, profiles: Mapping[int, Profile], options: DriftOptions) -> list[dict[str, Any]]:
    """Which sources have drifted, the one with the most drifted features first."""
    slices = []
    for source, profile in profiles.items():
        drifts = compare_profiles(reference, profile, options)
        drifted = [drift for drift in drifts if drift.is_drift]
        slices.append(
            {
                "source": source,
                "rows": profile.rows,
                "verdict": drifts[0].verdict,
                "drifted": len(drifted),
                "feature": drifted[0].name if drifted else "",
            }
        )
    slices.sort(key=lambda each: (-each["drifted"], each["source"]))
    return slices[:LISTED_SOURCES]


# -- errors ---------------------------------------------------------------------------------------------------------
def follow_errors(plan: DriftPlan) -> tuple[Adwin, list[Detection]]:
    """ADWIN over the hours that have come. Of a classification an hour is its wrong answers among the right ones,
    spread evenly; of a regression its mean error, in units of four times the first one."""
    if plan.monitor.metric != "error":
        adwin = Adwin.from_dict(plan.adwin) if plan.adwin else Adwin()
        return adwin, [change for hour in plan.hours for change in adwin.update_many(spread_errors(hour))]
    means = [hour.wrong / hour.scored for hour in plan.hours]
    if plan.adwin:
        adwin = Adwin.from_dict(plan.adwin)
    else:
        adwin = Adwin(scale=4 * means[0] if means and means[0] > 0 else 1.0, clock=1)
    return adwin, adwin.update_many(means)


def spread_errors(hour: HourErrors) -> Iterable[float]:
    """So many zeros and ones as the hour has right and wrong answers, or as MAX_ERRORS_PER_HOUR allows."""
    count = min(hour.scored, MAX_ERRORS_PER_HOUR)
    share = hour.wrong / hour.scored
    return (float(int((place + 1) * share + 0.5) - int(place * share + 0.5)) for place in range(count))


def describe_rise(change: Detection) -> dict[str, Any]:
    return {"detector": "adwin", "before": change.before, "after": change.after, "width": change.width}


def follow_risk(plan: DriftPlan) -> tuple[RunningRisk | None, dict[str, Any] | None, bool]:
    """(the running risk, evidence if its bound is beyond the line, whether it surely is within). It begins again after
    an alarm, and with another line or alpha."""
    if plan.accuracy_line is None or plan.accuracy_reference is None:
        return None, None, False
    base = min(1.0, max(0.0, 1 - plan.accuracy_reference))
    fresh = RunningRisk(base, max(0.0, plan.accuracy_reference - plan.accuracy_line), alpha=plan.monitor.drift_alpha)
    risk = RunningRisk.from_dict(plan.risk) if plan.risk else fresh
    if (risk.limit, risk.alpha) != (fresh.limit, fresh.alpha):
        risk = fresh
    for hour in plan.hours:
        bound = risk.update_counts(int(hour.wrong), hour.scored)
        if bound.verdict == "alarm":
            evidence = {name: getattr(bound, name) for name in ("value", "low", "high", "limit", "count")}
            return fresh, {"detector": "running_risk", "alpha": risk.alpha, **evidence}, False
    return risk, None, bool(risk.count) and risk.compute_bounds()[1] <= risk.limit
