"""A register job's document becomes a version, once."""

import pytest

from apps.core.errors import Invalid, NotFound, Refused
from apps.ml.registry.documents import serialize_document
from apps.ml.registry.models import Model, ModelVersion, Variant
from apps.ml.registry.promotion.facts import build_side
from apps.ml.registry.services import register_version
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.django_db


@pytest.fixture
def register(worker_actor, project):
    def call(job, outputs, name="wti-forecast", actor=worker_actor):
        return register_version(actor=actor, project=project, model_name=name, outputs=outputs, job=job)

    return call


def test_a_version_with_its_variants_run_and_record(register, forms, project):
    job, outputs = forms(names=("fp32", "int8", "tvm-x86_64"), note="first")
    version, created = register(job, outputs)
    trainer = job.inputs.get(slot="fp32").source_job
    assert created
    assert (str(version), version.digest, version.job_id) == ("wti-forecast v1", outputs[0][1].digest, job.pk)
    assert (version.task, version.target, version.note, version.run) == ("forecast", "close", "first", trainer.run)
    assert version.metrics[0]["value"] == 1.5
    fp32, int8, compiled = version.variants.order_by("pk")
    assert (fp32.parent, int8.parent, compiled.parent) == (None, fp32, fp32)
    assert (fp32.job_id, int8.job_id) == (trainer.pk, job.inputs.get(slot="int8").source_job_id)
    assert fp32.heldout == int8.heldout == trainer.outputs.get(slot="heldout").artifact_id
    assert compiled.machine == {"target": "x86-64"}
    record = AuditRecord.objects.get(action="model.register_version")
    assert (record.object_id, record.project_id) == (str(version.pk), project.pk)
    assert version.digest in record.body
    assert fp32.artifact_id in record.body


def test_it_is_made_for_who_asked_for_the_job(register, forms, worker_actor):
    job, outputs = forms()
    Job.objects.filter(pk=job.pk).update(requester="engineer")
    job.refresh_from_db()
    version, _ = register(job, outputs, actor=worker_actor.with_job(job.pk))
    assert (version.created_by, version.model.created_by) == ("engineer", "engineer")


def test_the_edges_of_lineage(register, forms):
    job, outputs = forms()
    version, _ = register(job, outputs)
    fp32, int8 = version.variants.order_by("pk")
    edges = set(Edge.objects.values_list("source_type", "source_id", "target_type", "target_id"))
    assert ("artifact", fp32.artifact_id, "variant", str(fp32.pk)) in edges
    assert ("variant", str(int8.pk), "model_version", str(version.pk)) in edges
    assert ("job", str(job.pk), "model_version", str(version.pk)) in edges
    assert ("artifact", int8.artifact_id, "job", str(job.pk)) in edges
    assert len(edges) == 7


def test_twice_is_once(register, forms):
    job, outputs = forms()
    first = register(job, outputs)[0]
    before = AuditRecord.objects.count(), Edge.objects.count()
    assert register(job, outputs) == (first, False)
    assert (AuditRecord.objects.count(), Edge.objects.count()) == before
    assert (ModelVersion.objects.count(), Variant.objects.count()) == (1, 2)
    assert Model.objects.get().versions_count == 1


def test_the_same_forms_from_another_job_are_the_same_version(register, forms):
    first = register(*forms(seed=7))[0]
    again = forms(seed=7)
    assert register(*again) == (first, False)
    assert Edge.objects.filter(source_id=str(again[0].pk), target_type="model_version").exists()


def test_other_forms_are_the_next_version(register, forms):
    assert [register(*forms())[0].number for _ in range(3)] == [1, 2, 3]


def test_the_maker_is_found_by_the_bytes_where_no_job_is_named(register, forms, job_of):
    job, outputs = forms(names=("fp32",))
    job.inputs.update(source_job=None)
    given = {row.slot: row.artifact for row in job.inputs.all()}
    made = {"model": given["fp32"], "manifest": given["fp32_manifest"], "figures": given["fp32_figures"]}
    trainer = job_of("train", outputs=made)
    version, _ = register(job, outputs)
    assert version.variants.get().job_id == trainer.pk
    assert version.run is None
    assert version.variants.get().heldout == ""


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("part", ["", "_manifest", "_figures"])
def test_files_of_ones_own_are_no_work_of_the_job_that_trained(register, forms, held, named, part):
    """An engineer puts figures, or a manifest that names other held-out rows, beside a model that was trained here."""
    job, outputs = forms(names=("fp32", "int8"))
    if not named:
        job.inputs.update(source_job=None)
    own = held(b"made at home")
    for slot in ("fp32", "int8"):
        job.inputs.filter(slot=f"{slot}{part}").update(artifact=own, source_job=None)
    document = outputs[0][4]
    for row in document["variants"]:
        row.update({"": {"model": own.digest}, "_manifest": {"manifest": own.digest}}.get(part, {}))
    written = held(serialize_document(document).encode())
    version, _ = register(job, [("version", written, "version.json", "application/json", document)])
    assert version.run is None
    assert list(version.variants.values_list("job_id", "heldout")) == [(None, "")] * 2
    fp32 = build_side(version, version.variants.all(), {})["variants"]["fp32"]
    assert (fp32["job"], fp32["heldout"]) == (None, "")


def test_a_document_that_was_not_written_is_refused(register, forms):
    job, [(slot, artifact, name, media, document)] = forms()
    with pytest.raises(Invalid) as caught:
        register(job, [(slot, artifact, name, media, document | {"target": "open"})])
    assert caught.value.code == "version_document"
    assert not Model.objects.exists()


def test_bytes_that_did_not_go_into_the_job_are_refused(register, forms):
    job, outputs = forms()
    job.inputs.filter(slot="int8").delete()
    with pytest.raises(Invalid) as caught:
        register(job, outputs)
    assert (caught.value.code, caught.value.field) == ("version_document", "outputs/version/variants/int8")
    assert not ModelVersion.objects.exists()


def test_a_missing_output_is_named(register, forms):
    with pytest.raises(Invalid) as caught:
        register(forms()[0], [])
    assert caught.value.code == "output_missing"


def test_reads_no_bytes(register, forms, monkeypatch):
    job, outputs = forms()
    monkeypatch.setattr("apps.ml.registry.promotion.facts.get_store", lambda: pytest.fail("read the store"))
    monkeypatch.setattr("apps.platform.artifacts.local_store.LocalStore.open", lambda *_: pytest.fail("read the store"))
    assert register(job, outputs)[1]


def test_a_person_cannot_claim_what_a_job_made(register, forms, actor_for, engineer, stranger):
    for who, error in ((engineer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            register(*forms(), actor=actor_for(who))
    assert not Model.objects.exists()


def test_a_model_of_another_project_has_its_own_versions(register, forms, registered, other_project):
    registered(where=other_project)
    version, _ = register(*forms())
    assert version.number == 1
    assert Model.objects.count() == 2
