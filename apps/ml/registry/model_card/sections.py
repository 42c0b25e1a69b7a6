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
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.gates.verdicts import GateResult, evaluate_gates
from apps.ml.registry.model_card.blocks import Block, Code, Document, Facts, Points, Section, Table, Text
from apps.ml.registry.models import Evaluation, ModelVersion, ModelVersionTag, Variant
from apps.ml.registry.presenters import format_predict_call, format_serve_commands, list_recipe
from apps.ml.registry.provenance import list_training_data
from apps.platform.approvals.models import Approval, Vote

NOT_RECORDED = "The record does not say."
TAGS = ("card.intended_use", "card.ethical_considerations", "card.caveats")
MAX_FEATURES, MAX_SLICES, MAX_EVALUATIONS = 40, 200, 12


def build_model_card(actor: Actor, version: ModelVersion, files: str) -> Document:
    """The card of a version; `files` is the address of the project's artifacts, for the commands that fetch it."""
    policy.require(actor, "model.view", version)
    document = read_document(version.document) if version.document else {}
    variants = queries.list_variants(actor, version)
    evaluations = evaluation_queries.list_newest_evaluations(actor, version)[:MAX_EVALUATIONS]
    documents = {
        evaluation.pk: evaluation_queries.parse_document(evaluation)
        for evaluation in Evaluation.objects.filter(pk__in=[e.pk for e in evaluations])
    }
    tags = get_card_tags(version)
    return Document(
        title=f"Model card: {version}",
        sentence=f"{describe_task(version)} Generated from the record of the plane; version {version.digest}.",
        sections=[
            build_details(actor, version, document, variants),
            Section("Intended Use", [Text(tags.get("card.intended_use") or version.model.description or NOT_RECORDED)]),
            build_factors(evaluations, documents),
            build_metrics(evaluations, documents),
            build_evaluation_data(evaluations, documents, variants),
            build_training_data(version, document, variants),
            build_quantitative_analyses(variants, evaluations, documents),
            Section("Ethical Considerations", [Text(tags.get("card.ethical_considerations") or NOT_RECORDED)]),
            build_caveats(tags, variants, documents, evaluate_gates(version)),
            build_call_examples(version, variants, document, files),
        ],
    )


def get_card_tags(version: ModelVersion) -> dict[str, str]:
    """What people wrote for the card: on the model, and over it on the version."""
    tags = dict(version.model.tags.filter(key__in=TAGS).values_list("key", "value"))
    return tags | dict(ModelVersionTag.objects.filter(version=version, key__in=TAGS).values_list("key", "value"))


def describe_task(version: ModelVersion) -> str:
    if not version.task:
        return "A model that a client registered."
    verb = {"classification": "classifies", "regression": "estimates", "forecast": "forecasts"}.get(version.task, "")
    return f"It {verb or version.task} {version.target}."


# -- sections -------------------------------------------------------------------------------------------------------
def build_details(
    actor: Actor, version: ModelVersion, document: Mapping[str, Any], variants: Sequence[Variant]
) -> Section:
    registered_at = version.created_at.strftime("%Y-%m-%d %H:%M UTC")
    facts = [
        ("Model", f"{version.model.name}, version {version.number}"),
        ("Digest", version.digest or "none"),
        ("Task", f"{version.task}: {version.target}" if version.task else NOT_RECORDED),
        (
            "Registered",
            f"{registered_at} by {version.created_by}" + (f", job {version.job_id}" if version.job_id else ""),
        ),
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
        settings = (f"{key} {value}" for key, value in architecture.items() if value not in (None, [], False))
        facts.append(("Architecture", ", ".join(settings)))
    blocks: list[Block] = [Facts(facts)]
    if variants:
        rows = [
            (variant.name, variant.format, f"{variant.size:,} bytes", describe_processor(variant), variant.artifact_id)
            for variant in variants
        ]
        blocks.append(Table(("Variant", "Format", "Size", "Runs on", "SHA-256 of the file"), rows, "Forms"))
    blocks.append(build_approvals(actor, version))
    return Section("Model Details", blocks)


def describe_processor(variant: Variant) -> str:
    return str(variant.machine.get("mcpu") or variant.machine.get("arch") or "any processor")


def build_approvals(actor: Actor, version: ModelVersion) -> Block:
    """Who was asked to promote it and what became of it; what the reader may not see is left out."""
    if not policy.is_allowed(actor, "approval.view", version.model):
        return Text("Approvals: not shown to this reader.")
    requests: Sequence[Approval] = queries.list_approvals(actor, version)
    if not requests:
        return Text("Approvals: nobody has asked to promote it.")
    votes: dict[int, list[str]] = {}
    for vote in Vote.objects.filter(approval__in=requests).order_by("pk"):
        votes.setdefault(vote.approval_id, []).append(f"{vote.label} ({vote.decision})")
    rows = [
        (
            f"#{request.pk}",
            str(request.state),
            request.requester,
            request.created_at.strftime("%Y-%m-%d"),
            ", ".join(votes.get(request.pk, [])) or "none",
            request.facts_digest,
        )
        for request in requests
    ]
    return Table(("Approval", "State", "Asked by", "On", "Votes of", "Digest of the facts"), rows, "Approvals")


def build_factors(evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]) -> Section:
    columns = dict.fromkeys(part["column"] for evaluation in evaluations for part in documents[evaluation.pk]["slices"])
    if not columns:
        return Section("Factors", [Text("No evaluation looks at parts of the data on their own.")])
    return Section("Factors", [Text("The figures are told apart by these columns:"), Points(list(columns))])


def build_metrics(evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]) -> Section:
    names = dict.fromkeys(m["name"] for evaluation in evaluations for m in documents[evaluation.pk]["metrics"])
    text = (
        "Each figure has an interval: how far the rows at hand may mislead, for this one training. It holds nothing of "
        "another seed or of other data."
    )
    blocks: list[Block] = [Text(text)]
    if names:
        blocks.append(Points([f"{name}: {describe_metric(name)}" for name in names]))
    return Section("Metrics", blocks)


def describe_metric(name: str) -> str:
    """What a metric is in a few words; those of one class or label, as recall_cat, are described as that of two."""
    kind, _, label = name.partition("_")
    if name not in METRIC_DESCRIPTIONS and label and kind in ("recall", "precision", "f1"):
        return f"{kind} of {label}"
    return METRIC_DESCRIPTIONS.get(name.split("_at_")[0], "see docs/evaluations.md")


METRIC_DESCRIPTIONS = {
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


def build_evaluation_data(
    evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]], variants: Sequence[Variant]
) -> Section:
    sets = {item.set_id: item.set for item in evaluations}.values()
    rows = [(format_set_reference(on), str(on.dataset_version), on.task, on.target, on.table_id) for on in sets]
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(("Set", "Data", "Task", "Target", "SHA-256 of the table"), rows, "Evaluation sets"))
    heldout = {item.heldout for item in variants if item.heldout}
    blocks += [Text(f"Rows held out by the training: {digest}.") for digest in sorted(heldout)]
    return Section("Evaluation Data", blocks or [Text("It was evaluated on no set, and no held-out rows are known.")])


def build_training_data(version: ModelVersion, document: Mapping[str, Any], variants: Sequence[Variant]) -> Section:
    data = list_training_data(next(iter(variants), None), version.project_id)
    blocks: list[Block] = []
    if data:
        rows = [
            (
                str(dataset_version),
                f"{dataset_version.rows:,}" if dataset_version.rows is not None else "?",
                dataset_version.digest,
            )
            for dataset_version in data
        ]
        blocks.append(Table(("Dataset version", "Rows", "Digest"), rows, "Trained on"))
    else:
        blocks.append(Text("Which dataset version it was trained on is not in the lineage."))
    if inputs := document.get("inputs"):
        blocks.append(Facts([(f"Input {slot}", str(digest)) for slot, digest in sorted(inputs.items())]))
    features = document.get("features") or []
    if features:
        more = f", and {len(features) - MAX_FEATURES} more" if len(features) > MAX_FEATURES else ""
        blocks.append(Text(f"Features ({len(features)}): {', '.join(features[:MAX_FEATURES])}{more}."))
    if recipe := list_recipe(document):
        blocks.append(Table(("Setting", "Value"), recipe, "Training"))
    return Section("Training Data", blocks)


def build_quantitative_analyses(
    variants: Sequence[Variant], evaluations: Sequence[Evaluation], documents: Mapping[int, Mapping[str, Any]]
) -> Section:
    """Unitary results, by set and by the rows held out; then slice by slice; then how fast it is."""
    blocks: list[Block] = []
    for evaluation in evaluations:
        document = documents[evaluation.pk]
        if evaluation.by_predictions:
            blocks.append(
                Text(f"{format_set_reference(evaluation.set)}: {IN_ENGLISH.format(name=evaluation.created_by)}")
            )
        title = f"{evaluation.form} on {format_set_reference(evaluation.set)}, {evaluation.rows:,} rows"
        blocks.append(Table(FIGURE_HEAD, build_figure_rows(document["metrics"]), title))
    for variant in variants:
        metrics = (variant.figures or {}).get("metrics") or []
        if metrics:
            title = f"{variant.name} on {variant.figures.get('rows', 0):,} rows held out by the training"
            blocks.append(Table(FIGURE_HEAD, build_figure_rows(metrics), title))
    for evaluation in evaluations:
        if rows := build_slice_rows(documents[evaluation.pk], evaluation.set.primary_metric):
            title = (
                f"{evaluation.form} on {format_set_reference(evaluation.set)} by slice, {evaluation.set.primary_metric}"
            )
            blocks.append(Table(("Slice", "Rows", "Value", "Interval"), rows[:MAX_SLICES], title))
    if rows := [row for evaluation in evaluations for row in build_latency_rows(evaluation, documents[evaluation.pk])]:
        head = ("Variant", "Batch", "Median", "95th percentile", "Rows per second", "Model in memory")
        blocks.append(Table(head, rows, "Latency, throughput and memory"))
    return Section("Quantitative Analyses", blocks or [Text("Nothing was measured.")])


FIGURE_HEAD = ("Metric", "Value", "Interval", "Better")


def build_figure_rows(metrics: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            metric["name"],
            f"{metric['value']:.5g} {metric.get('unit') or ''}".strip(),
            format_interval(metric),
            metric["better"],
        )
        for metric in metrics
    ]


def format_interval(metric: Mapping[str, Any]) -> str:
    low, high, confidence = metric.get("low"), metric.get("high"), metric.get("confidence")
    if low is None or high is None:
        return "none"
    level = f", {confidence:.0%}" if confidence else ""
    return f"{low:.5g} to {high:.5g}{level}"


def build_slice_rows(document: Mapping[str, Any], metric: str) -> list[tuple[str, ...]]:
    rows = []
    for part in document["slices"]:
        value_row = evaluation_queries.find_metric(part["metrics"], metric)
        value = f"{value_row['value']:.5g}" if value_row else "too few rows"
        rows.append(
            (
                f"{part['column']}: {part['value']}",
                f"{part['rows']:,}",
                value,
                format_interval(value_row) if value_row else "none",
            )
        )
    return rows


def build_latency_rows(evaluation: Evaluation, document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    if evaluation.by_predictions:
        return []  # nothing was run
    memory = f"{document['memory']['model_bytes'] / 2**20:.1f} MiB"
    return [
        (
            evaluation.form,
            str(pace["batch"]),
            f"{pace['p50_us']:.4g} µs",
            f"{pace['p95_us']:.4g} µs",
            f"{pace['rows_per_second']:,.0f}",
            memory,
        )
        for pace in document["latency"]
    ]


def build_caveats(
    tags: Mapping[str, str],
    variants: Sequence[Variant],
    documents: Mapping[int, Mapping[str, Any]],
    results: Sequence[GateResult],
) -> Section:
    notes = dict.fromkeys(note for item in variants for note in (item.figures or {}).get("notes") or [])
    notes |= dict.fromkeys(note for document in documents.values() for note in document["notes"])
    blocks: list[Block] = [Text(tags["card.caveats"])] if tags.get("card.caveats") else []
    blocks += [Points(list(notes))] if notes else []
    if results:
        rows = [
            (
                f"{format_set_reference(item.gate.set)}, {item.gate.metric}",
                f"v{item.against.number}" if item.against else "none",
                str(item.state).replace("_", " "),
                f"{item.outcome.difference:.4g}" if item.outcome.difference is not None else "none",
                f"{item.outcome.low:.4g} to {item.outcome.high:.4g}" if item.outcome.low is not None else "none",
                f"{item.gate.margin:g}",
            )
            for item in results
        ]
        blocks.append(Table(("Gate", "Baseline", "Verdict", "Difference", "Interval", "Margin"), rows, "Gates"))
    return Section("Caveats and Recommendations", blocks or [Text(NOT_RECORDED)])


def build_call_examples(
    version: ModelVersion, variants: Sequence[Variant], document: Mapping[str, Any], files: str
) -> Section:
    if not variants:
        return Section("How to Call It", [Text("The plane has no form of it that it can run.")])
    blocks: list[Block] = [Code(format_serve_commands(variants[0], version.model.name, files))]
    if call := format_predict_call(document):
        blocks.append(Code(call))
    return Section("How to Call It", blocks)
