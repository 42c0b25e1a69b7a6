"""What becomes of the table of a batch prediction."""

from __future__ import annotations

import json
from importlib.metadata import version

from apps.core.actors import Actor
from apps.data.datasets.labels.inheritance import raise_label
from apps.data.datasets.models import Dataset
from apps.data.datasets.provenance.job_inputs import get_input_digests
from apps.data.datasets.services import add_version_from_job_output
from apps.ml.registry.batch_prediction import find_input_variant
from apps.ml.registry.models import Variant
from apps.ml.registry.provenance import build_version_end, find_training_label
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from workers.registration import Outputs, record_artifacts


def register_predicted_table(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The table becomes a version of the dataset that `register` names; without a name it stays an artifact.

    Its lineage begins at the table and at the model version. Its label is at least that of the table and of the data
    that the model was trained on, as far back as the jobs of this project made it; of a version that was brought in
    from elsewhere, as its lineage says of any of its forms.
    """
    spec = json.loads(job.spec)
    digests = get_input_digests(job)
    variant = find_input_variant(job.project_id, digests, spec.get("model", ""))
    name = job.register.get("dataset")
    if name:
        dataset_version, _created = add_version_from_job_output(
            actor=actor,
            project=job.project,
            dataset_name=name,
            outputs=outputs,
            job=job,
            script=f"deepseek.predict {version('deepseek-offline')}",
            params=spec,
        )
        highest = find_training_label(job.project_id, digests["model"], variant)
        dataset = Dataset.objects.get(pk=dataset_version.dataset_id)  # with the label that it has by now of the table
        raise_label(actor, dataset, highest, job=job.pk)
    else:
        record_artifacts(actor, job, outputs)
    record_model_edge(actor, job, variant)


def record_model_edge(actor: Actor, job: Job, variant: Variant | None) -> None:
    """From the model version to the job, where the model is of one."""
    if variant is not None:
        this = End("job", str(job.pk), label=str(job))
        edge = EdgeSpec.between(build_version_end(variant.version), this, "model")
        record_edges(actor=actor, project=job.project, edges=[edge])
