"""The card of a version, from the record alone: what is not recorded is said to be missing, never guessed.

Its sections are those of Mitchell et al., "Model Cards for Model Reporting" (2019). What no machine can know (what it
is meant for, whom it may harm) is taken from the tags `card.intended_use`, `card.ethical_considerations` and
`card.caveats` of the version or of its model, and from their descriptions. In English, as all records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.registry import queries
from apps.ml.registry.documents import read_document
from apps.ml.registry.evaluations import queries as evaluation_queries
from apps.ml.registry.evaluations.prediction_notes import IN_ENGLISH
from apps.ml.registry.evaluations.sets import reference
from apps.ml.registry.gates.verdicts import Judged, judge
from apps.ml.registry.model_card.blocks import Block, Code, Document, Facts, Points, Section, Table, Text
from apps.ml.registry.models import Evaluation, ModelVersion, ModelVersionTag, Variant
from apps.ml.registry.presenters import predict_call, recipe_of, serve_commands
from apps.ml.registry.provenance import data_of
from apps.platform.approvals.models import Approval, Vote

NOT_SAID = "The record does not say."
TAGS = ("card.intended_use", "card.ethical_considerations", "card.caveats")
FEATURES_SHOWN, SLICES_SHOWN, MOST_EVALUATIONS = 40, 200, 12


def card_of(actor: Actor, version: ModelVersion, files: str) -> Document:
    """The card of a version; `files` is the address of the project's artifacts, for the commands that fetch it."""
    policy.require(actor, "model.view", version)
    document = read_document(version.document) if version.document else {}
    variants = queries.variants_of(actor, version)
    evaluations = evaluation_queries.evaluations_of(actor, version)[:MOST_EVALUATIONS]
    documents = {
        one.pk: evaluation_queries.document_of(one)
        for one in Evaluation.objects.filter(pk__in=[e.pk for e in evaluations])
    }
    said = tags_of(version)
    return Document(
        title=f"Model card: {version}",
        sentence=f"{task_words(version)} Generated from the record of the plane; version {version.digest}.",
        sections=[
            details(actor, version, document, variants),
            Section("Intended Use", [Text(said.get("card.intended_use") or version.model.description or NOT_SAID)]),
            factors(evaluations, documents),
            metrics_section(evaluations, documents),
            evaluation_data(evaluations, documents, variants),
            training_data(version, document, variants),
            quantitative(variants, evaluations, documents),
            Section("Ethical Considerations", [Text(said.get("card.ethical_considerations") or NOT_SAID)]),
            caveats(said, variants, documents, judge(version)),
            how_to_call(version, variants, document, files),
        ],
    )


def tags_of(version: ModelVersion) -> dict[str, str]:
    """What people wrote for the card: on the model, and over it on the version."""
    found = dict(version.model.tags.filter(key__in=TAGS).values_list("key", "value"))
    return found | dict(ModelVersionTag.objects.filter(version=version, key__in=TAGS).values_list("key", "value"))


def task_words(version: ModelVersion) -> str:
    if not version.task:
        return "A model that a client registered."
    verb = {"classification": "classifies", "regression": "estimates", "forecast": "forecasts"}.get(version.task, "")
    return f"It {verb or version.task} {version.target}."


# -- sections -------------------------------------------------------------------------------------------------------
def details(actor: Actor, version: ModelVersion, document: Mapping[str, Any], variants: Sequence[Variant]) -> Section:
    made = version.created_at.strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Model", f"{version.model.name}, version {version.number}"),
        ("Digest", version.digest or "none"),
        ("Task", f"{version.task}: {version.target}" if version.task else NOT_SAID),
        ("Registered", f"{made} by {version.created_by}" + (f", job {version.job_id}" if version.job_id else "")),
        ("Names", ", ".join(alias.name for alias in version.aliases.order_by("name")) or "none"),
    ]
    if version.run_id:
        facts.append(("Run", version.run_id))
    if version.source:
        facts.append(("Files", version.source))
    if version.note or version.description:
        facts.append(("Note", version.note or version.description))
    architecture = document.get("architecture") or {}
    if architecture:
        told = (f"{key} {value}" for key, value in architecture.items() if value not in (None, [], False))
        facts.append(("Architecture", ", ".join(told)))
    blocks: list[Block] = [Facts(facts)]
    if variants:
        rows = [(one.name, one.format, f"{one.size:,} bytes", runs_on(one), one.artifact_id) for one in variants]
        blocks.append(Table(("Variant", "Format", "Size", "Runs on", "SHA-256 of the file"), rows, "Forms"))
    blocks.append(approvals(actor, version))
    return Section("Model Details", blocks)


def runs_on(variant: Variant) -> str:
    return str(variant.machine.get("mcpu") or variant.machine.get("arch") or "any processor")


def approvals(actor: Actor, version: ModelVersion) -> Block:
    """Who was asked to promote it and what became of it; what the reader may not see is left out."""
    if not policy.is_allowed(actor, "approval.view", version.model):
        return Text("Approvals: not shown to this reader.")
    asked: Sequence[Approval] = queries.approvals_of(actor, version)
    if not asked:
        return Text("Approvals: nobody has asked to promote it.")
    votes: dict[int, list[str]] = {}
    for vote in Vote.objects.filter(approval__in=asked).order_by("pk"):
        votes.setdefault(vote.approval_id, []).append(f"{vote.label} ({vote.decision})")
    rows = [
        (
            f"#{one.pk}",
            str(one.state),
            one.requester,
            one.created_at.strftime("%Y-%m-%d"),
            ", ".join(votes.get(one.pk, [])) or "none",
            one.facts_digest,
        )
        for one in asked
    ]
    return Table(("Approval", "State", "Asked by", "On", "Votes of", "Digest of the facts"), rows, "Approvals")


def factors(evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]) -> Section:
    columns = dict.fromkeys(part["column"] for one in evaluations for part in documents[one.pk]["slices"])
    if not columns:
        return Section("Factors", [Text("No evaluation looks at parts of the data on their own.")])
    return Section("Factors", [Text("The figures are told apart by these columns:"), Points(list(columns))])


def metrics_section(evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]) -> Section:
    names = dict.fromkeys(m["name"] for one in evaluations for m in documents[one.pk]["metrics"])
    text = (
        "Each figure has an interval: how far the rows at hand may mislead, for this one training. It holds nothing of "
        "another seed or of other data."
    )
    blocks: list[Block] = [Text(text)]
    if names:
        blocks.append(
            Points([f"{name}: {WORDS.get(name.split('_at_')[0], 'see docs/evaluations.md')}" for name in names])
        )
    return Section("Metrics", blocks)


WORDS = {
    "accuracy": "share of rows whose class is right",
    "f1_macro": "mean over classes of the harmonic mean of precision and recall",
    "precision_macro": "mean precision over classes",
    "recall_macro": "mean recall over classes",
    "precision": "of the rows said to be positive, the share that is",
    "recall": "of the positive rows, the share that is found",
    "f1": "harmonic mean of precision and recall",
    "auc": "area under the ROC curve",
    "log_loss": "mean of -log of the share given to the right class",
    "brier": "mean squared distance of the shares to the right answer",
    "ece": "expected calibration error: how far sureness is from being right",
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
    "r2": "share of the variance that is explained",
    "mape": "mean absolute error relative to the target",
    "ndcg": "normalised discounted cumulative gain",
    "map": "mean average precision over queries",
    "mrr": "mean reciprocal rank of the first relevant row",
}


def evaluation_data(
    evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]], variants: Sequence[Variant]
) -> Section:
    sets = {one.set_id: one.set for one in evaluations}.values()
    rows = [(reference(on), str(on.dataset_version), on.task, on.target, on.table_id) for on in sets]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(("Set", "Data", "Task", "Target", "SHA-256 of the table"), rows, "Evaluation sets"))
    heldout = {one.heldout for one in variants if one.heldout}
    blocks += [Text(f"Rows held out by the training: {digest}.") for digest in sorted(heldout)]
    return Section("Evaluation Data", blocks or [Text("It was evaluated on no set, and no held-out rows are known.")])


def training_data(version: ModelVersion, document: Mapping[str, Any], variants: Sequence[Variant]) -> Section:
    data = data_of(next(iter(variants), None), version.project_id)
    blocks: list[Block] = []
    if data:
        rows = [(str(one), f"{one.rows:,}" if one.rows is not None else "?", one.digest) for one in data]
        blocks.append(Table(("Dataset version", "Rows", "Digest"), rows, "Trained on"))
    else:
        blocks.append(Text("Which dataset version it was trained on is not in the lineage."))
    if inputs := document.get("inputs"):
        blocks.append(Facts([(f"Input {slot}", str(digest)) for slot, digest in sorted(inputs.items())]))
    features = document.get("features") or []
    if features:
        more = f", and {len(features) - FEATURES_SHOWN} more" if len(features) > FEATURES_SHOWN else ""
        blocks.append(Text(f"Features ({len(features)}): {', '.join(features[:FEATURES_SHOWN])}{more}."))
    if recipe := recipe_of(document):
        blocks.append(Table(("Setting", "Value"), recipe, "Training"))
    return Section("Training Data", blocks)


def quantitative(
    variants: Sequence[Variant], evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]
) -> Section:
    """Unitary results, by set and by the rows held out; then slice by slice; then how fast it is."""
    blocks: list[Block] = []
    for one in evaluations:
        told = documents[one.pk]
        if one.by_predictions:
            blocks.append(Text(f"{reference(one.set)}: {IN_ENGLISH.format(name=one.created_by)}"))
        title = f"{one.form} on {reference(one.set)}, {one.rows:,} rows"
        blocks.append(Table(FIGURE_HEAD, figure_rows(told["metrics"]), title))
    for variant in variants:
        metrics = (variant.figures or {}).get("metrics") or []
        if metrics:
            title = f"{variant.name} on {variant.figures.get('rows', 0):,} rows held out by the training"
            blocks.append(Table(FIGURE_HEAD, figure_rows(metrics), title))
    for one in evaluations:
        if rows := slice_rows(documents[one.pk], one.set.primary_metric):
            title = f"{one.form} on {reference(one.set)} by slice, {one.set.primary_metric}"
            blocks.append(Table(("Slice", "Rows", "Value", "Interval"), rows[:SLICES_SHOWN], title))
    if rows := [row for one in evaluations for row in pace_rows(one, documents[one.pk])]:
        head = ("Variant", "Batch", "Median", "95th percentile", "Rows per second", "Model in memory")
        blocks.append(Table(head, rows, "Latency, throughput and memory"))
    return Section("Quantitative Analyses", blocks or [Text("Nothing was measured.")])


FIGURE_HEAD = ("Metric", "Value", "Interval", "Better")


def figure_rows(metrics: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (metric["name"], f"{metric['value']:.5g} {metric.get('unit') or ''}".strip(), bounds(metric), metric["better"])
        for metric in metrics
    ]


def bounds(metric: Mapping[str, Any]) -> str:
    low, high, confidence = metric.get("low"), metric.get("high"), metric.get("confidence")
    if low is None or high is None:
        return "none"
    level = f", {confidence:.0%}" if confidence else ""
    return f"{low:.5g} to {high:.5g}{level}"


def slice_rows(told: Mapping[str, Any], metric: str) -> list[tuple[str, ...]]:
    rows = []
    for part in told["slices"]:
        found = evaluation_queries.metric_of(part["metrics"], metric)
        value = f"{found['value']:.5g}" if found else "too few rows"
        rows.append(
            (f"{part['column']}: {part['value']}", f"{part['rows']:,}", value, bounds(found) if found else "none")
        )
    return rows


def pace_rows(one: Evaluation, told: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if one.by_predictions:
        return []  # nothing was run
    memory = f"{told['memory']['model_bytes'] / 2**20:.1f} MiB"
    return [
        (
            one.form,
            str(pace["batch"]),
            f"{pace['p50_us']:.4g} µs",
            f"{pace['p95_us']:.4g} µs",
            f"{pace['rows_per_second']:,.0f}",
            memory,
        )
        for pace in told["latency"]
    ]


def caveats(
    said: Mapping[str, str],
    variants: Sequence[Variant],
    documents: Mapping[int, Mapping[str, Any]],
    judged: Sequence[Judged],
) -> Section:
    notes = dict.fromkeys(note for one in variants for note in (one.figures or {}).get("notes") or [])
    notes |= dict.fromkeys(note for told in documents.values() for note in told["notes"])
    blocks: list[Block] = [Text(said["card.caveats"])] if said.get("card.caveats") else []
    blocks += [Points(list(notes))] if notes else []
    if judged:
        rows = [
            (
                f"{reference(one.gate.set)}, {one.gate.metric}",
                f"v{one.against.number}" if one.against else "none",
                str(one.state).replace("_", " "),
                f"{one.said.difference:.4g}" if one.said.difference is not None else "none",
                f"{one.said.low:.4g} to {one.said.high:.4g}" if one.said.low is not None else "none",
                f"{one.gate.margin:g}",
            )
            for one in judged
        ]
        blocks.append(Table(("Gate", "Baseline", "Verdict", "Difference", "Interval", "Margin"), rows, "Gates"))
    return Section("Caveats and Recommendations", blocks or [Text(NOT_SAID)])


def how_to_call(version: ModelVersion, variants: Sequence[Variant], document: Mapping[str, Any], files: str) -> Section:
    if not variants:
        return Section("How to Call It", [Text("The plane has no form of it that it can run.")])
    blocks: list[Block] = [Code(serve_commands(variants[0], version.model.name, files))]
    if call := predict_call(document):
        blocks.append(Code(call))
    return Section("How to Call It", blocks)
