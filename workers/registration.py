"""What a job's outputs become, by kind; called in the transaction that ends the job, so it reads no bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError
from apps.data.datasets.models import Dataset
from apps.data.datasets.provenance.job_inputs import (
    build_input_ends,
    build_version_end,
    find_source_versions,
    get_input_digests,
)
from apps.data.datasets.quality.profile_jobs import register_measurements
from apps.data.datasets.services import add_version_from_job_output, set_quality
from apps.data.datasets.versions.image_data import TABLE, find_named_version
from apps.data.datasets.versions.manifest import is_table
from apps.ml.experiments.models import Run
from apps.ml.registry.evaluations.image_sets import is_image_slot
from apps.ml.registry.provenance import MODEL_SLOT, build_artifact_end, build_model_edges
from apps.ml.registry.services import record_version
from apps.ml.registry.services import register_version as register_model
from apps.ml.registry.services.evaluations import register_evaluation
from apps.ml.registry.services.models import ensure_model
from apps.ml.registry.services.predictions import register_predictions
from apps.ml.sweeps.services import record_answer
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.images.spec import IMAGES
from deepseek.messages import N_

MODEL_FOLDER = "model"  # below $OUT, of a script
MAX_ENDS = 100  # of images that were given one by one
RUN_OUTPUTS = "outputs"  # among the files of a script's run
Outputs = Sequence[tuple[str, Artifact, str, str, Mapping[str, Any]]]


def record_artifacts(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The outputs stay artifacts of the job; the lineage says what went in and what came out.

    What went in is the dataset version that holds the bytes, where there is one: else nobody who asks what a version
    would affect would hear of this job.
    """
    slots = get_input_digests(job)
    sources = find_source_versions(job, find_parent_dataset(job), slots)
    record_job_edges(actor, job, build_input_ends(slots, sources), outputs)


def record_job_edges(actor: Actor, job: Job, ends: Mapping[str, End], outputs: Outputs) -> None:
    """From what went in, by slot, to the job, and from it to each output."""
    this = End("job", str(job.pk), label=str(job))
    edges = [EdgeSpec.between(end, this, slot) for slot, end in ends.items()]
    edges += [
        EdgeSpec.between(this, End("artifact", artifact.pk, digest=artifact.pk, label=name), slot)
        for slot, artifact, name, _, _ in outputs
    ]
    record_edges(actor=actor, project=job.project, edges=edges)


def register_cleaned_table(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The cleaned table becomes a version of the dataset that `register` names; without a name it stays an artifact."""
    name = job.register.get("dataset")
    if not name:
        record_artifacts(actor, job, outputs)
        return
    add_version_from_job_output(
        actor=actor,
        project=job.project,
        dataset_name=name,
        outputs=outputs,
        job=job,
        script=f"deepseek.clean {version('deepseek-offline')}",
        params=json.loads(job.spec),
    )


def register_observations(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The table of a period becomes a version of the dataset that `register` names; its lineage begins at the parts."""
    name = job.register.get("dataset")
    if not name:
        record_artifacts(actor, job, outputs)
        return
    add_version_from_job_output(
        actor=actor,
        project=job.project,
        dataset_name=name,
        outputs=outputs,
        job=job,
        script=f"deepseek.observations {version('deepseek-offline')}",
        params=json.loads(job.spec),
    )


def register_retraining_data(actor: Actor, job: Job, outputs: Outputs) -> None:
    """Both tables become versions of the datasets that `register` names: what is trained on, and what was held back."""
    if not job.register:
        record_artifacts(actor, job, outputs)
        return
    for key, slot in (("dataset", "table"), ("fresh", "fresh")):
        add_version_from_job_output(
            actor=actor,
            project=job.project,
            dataset_name=job.register[key],
            outputs=outputs,
            job=job,
            script=f"deepseek.retraining {version('deepseek-offline')}",
            params=json.loads(job.spec),
            slot=slot,
        )


def register_collected_table(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The records become a version of the dataset that `register` names, with their quality; without a name they stay
    an artifact. Either way the lineage begins at the addresses that the collection began at.
    """
    spec = json.loads(job.spec)
    name = job.register.get("dataset")
    if name:
        dataset_version, _created = add_version_from_job_output(
            actor=actor,
            project=job.project,
            dataset_name=name,
            outputs=outputs,
            job=job,
            script=f"deepseek.collect {version('deepseek-offline')}",
            params=spec,
            slot="records",
        )
        quality_report = next((artifact for slot, artifact, *_ in outputs if slot == "quality"), None)
        if quality_report is not None and dataset_version.quality_id is None:
            set_quality(actor=actor, version=dataset_version, artifact=quality_report)
    else:
        record_artifacts(actor, job, outputs)
    this = End("job", str(job.pk), label=str(job))
    begun = [EdgeSpec.between(build_source_end(url), this, "start") for url in dict.fromkeys(spec["start_urls"])]
    record_edges(actor=actor, project=job.project, edges=begun)


def build_source_end(url: str) -> End:
    """An address as an end of lineage edges: its id is the digest of its text, which is no digest of content."""
    return End("source", sha256_hex(url), label=url)


def register_measured_table(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The report becomes that of the versions that hold the table, or of the one that it becomes."""
    register_measurements(actor=actor, job=job, outputs=outputs)


def record_training_lineage(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The lineage of a training: from the dataset version that went in to the file of the model that came out."""
    slots = get_input_digests(job)
    ends = build_input_ends(slots, find_source_versions(job, find_parent_dataset(job), slots))
    record_edges(actor=actor, project=job.project, edges=build_model_edges(job, ends, outputs))


def record_image_training_lineage(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The lineage of a training on images: from the dataset version that its spec names, as one end for all its files,
    and from the weights that it began from.
    """
    record_edges(actor=actor, project=job.project, edges=build_model_edges(job, build_image_ends(job, IMAGES), outputs))


def build_image_ends(job: Job, folder: str) -> dict[str, End]:
    """{slot: what went in}: the version of images that the spec names, under the name of their folder, and the other
    inputs."""
    version = find_named_version(job.project_id, json.loads(job.spec).get(IMAGES, ""))
    digests = {slot: digest for slot, digest in get_input_digests(job).items() if version is None or "/" not in slot}
    first = dict(sorted(digests.items())[:MAX_ENDS])
    ends = {slot: build_artifact_end(digest, digest[:12]) for slot, digest in first.items()}
    if version is not None:
        ends[folder] = build_version_end(version)
    return ends


def find_parent_dataset(job: Job) -> Dataset | None:
    """The dataset in which the job that made this one's table has registered it, if it has."""
    parents = [job_input.source_job for job_input in job.inputs.select_related("source_job") if job_input.source_job]
    names = [name for parent in parents if (name := parent.register.get("dataset"))]
    return Dataset.objects.filter(project_id=job.project_id, name__in=names).first()


def record_derived_model(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The lineage of a quantization or compilation: from the file of one form to the file of the other."""
    ends = {MODEL_SLOT: build_model_file_end(job)}
    record_edges(actor=actor, project=job.project, edges=build_model_edges(job, ends, outputs))


def record_exported_model(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The lineage of an export: from the file of the trained model to that of each form, and what describes them."""
    record_job_edges(actor, job, {MODEL_SLOT: build_model_file_end(job)}, outputs)


def build_model_file_end(job: Job) -> End:
    """The file of the model that went into the job."""
    digest = get_input_digests(job)[MODEL_SLOT]
    holding = Holding.objects.filter(project_id=job.project_id, artifact=digest).first()
    return build_artifact_end(digest, holding.name if holding else digest[:12])


def register_model_version(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The forms become a version of the model that `register` names; without a name the document stays an artifact."""
    name = job.register.get("model")
    if not name:
        record_artifacts(actor, job, outputs)
        return
    register_model(actor=actor, project=job.project, model_name=name, outputs=outputs, job=job)


def register_script_outputs(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The files stay artifacts of the job; one of them becomes a version of the dataset that `register` names."""
    name = job.register.get("dataset")
    if not name:
        record_artifacts(actor, job, outputs)
        return
    spec = json.loads(job.spec)
    add_version_from_job_output(
        actor=actor,
        project=job.project,
        dataset_name=name,
        outputs=outputs,
        job=job,
        script=" ".join(spec["command"])[:200],
        params=spec,
        slot=find_table_slot(spec["table"], outputs),
    )


def publish_script_model(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The files in $OUT/model, or all of $OUT where there is no such folder, become a version of the model that
    `register` names, in the name of whoever asked for the job.
    """
    name = job.register.get("model")
    if not name:
        return
    owner = build_actor_from_grant(job.grant)
    if owner is None:
        raise PlaneError("Whoever asked for the job may not do so any more.", code="authority_gone", field="/register")
    run = Run.objects.get(job=job)
    has_folder = any(slot.startswith(f"{MODEL_FOLDER}/") for slot, *_ in outputs)
    source = f"runs:/{run.pk}/{RUN_OUTPUTS}{f'/{MODEL_FOLDER}' if has_folder else ''}"
    owner = owner.with_job(job.pk)
    ensure_model(actor=owner, project=job.project, name=name)
    record_version(actor=owner, project=job.project, name=name, source=source, run_id=run.pk)


def find_table_slot(wanted: str, outputs: Outputs) -> str:
    """The output that becomes a dataset version: the one that is named, else the only table."""
    tables = [slot for slot, _, _, media_type, _ in outputs if is_table(media_type)]
    if wanted:
        tables = [slot for slot, *_ in outputs if slot == wanted]
    if len(tables) == 1:
        return tables[0]
    raise PlaneError(
        "The script was to leave one table for the dataset, and left {count}.",
        count=len(tables),
        code="table_missing",
        field="/spec/table",
        limit=1,
        hint=N_("Write one CSV or Parquet file to $OUT, or name the file in the field table."),
    )


def register_evaluation_figures(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The figures become those of the variants that hold the model, on the set that `register` names; without a name
    they stay artifacts. Either way the lineage goes from the table, texts or images, and the model to what was
    measured."""
    if any(is_image_slot(slot) for slot in get_input_digests(job)):
        record_job_edges(actor, job, build_image_ends(job, TABLE), outputs)
    else:
        record_artifacts(actor, job, outputs)
    name = job.register.get("evaluation")
    if name:
        register_evaluation(actor=actor, project=job.project, set_name=name, outputs=outputs, job=job)


def register_sweep_trials(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The values that the job chose become the next trials of the sweep that asked for them."""
    record_artifacts(actor, job, outputs)
    answer = next(meta for slot, _, _, _, meta in outputs if slot == "answer")
    record_answer(actor=actor, job=job, answer=answer)


def register_prediction_figures(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The figures become those of the version that `register` names, on the set that it names; without both they stay
    artifacts. Either way the lineage goes from the predictions and the table to what was measured."""
    record_artifacts(actor, job, outputs)
    name, version = job.register.get("evaluation"), job.register.get("version")
    if name and version:
        register_predictions(
            actor=actor, project=job.project, set_name=name, version_key=version, outputs=outputs, job=job
        )
