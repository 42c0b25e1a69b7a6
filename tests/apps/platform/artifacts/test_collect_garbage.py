"""What nothing cites goes, the dry run lists it, and nothing that anybody counts on is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.db import models, transaction
from django.utils import timezone

from apps.core.errors import Conflict, Refused
from apps.platform.artifacts import garbage
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact, ChunkDigests, Collected, Holding
from apps.platform.artifacts.services import publish_upload, verify_stored_artifacts
from apps.platform.artifacts.store import StoredBytes
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobInput
from apps.platform.lineage.models import Edge

pytestmark = [pytest.mark.django_db, pytest.mark.services]
NOW = timedelta(0)

# Every column that holds a digest without a foreign key, and why no artifact is lost for it.
DIGEST_COLUMNS = {
    "transfer.OutgoingBundle.inventory": "of an inventory, needed while the bundle is built: in its time of grace",
    "transfer.OutgoingBundle.manifest_digest": "of bundle.json, which lies in its row",
    "transfer.IncomingBundle.manifest_digest": "of bundle.json, which lies in its row",
    "transfer.BundleSigner.fingerprint": "of a public key",
    "observations.FeatureProfile.layout_digest": "of JSON beside it",
    "observations.FeatureReference.layout_digest": "of JSON beside it",
    "observations.FeatureReference.report": "of a quality report that is needed no more",
    "accounts.ApiToken.digest": "of a secret",
    "emergency.EmergencyKey.digest": "of a secret",
    "nodes.NodeToken.digest": "of a secret",
    "nodes.ConflictRules.digest": "of the rules, which lie in their row",
    "experiments.RunToken.digest": "of a secret",
    "endpoints.Endpoint.token_digest": "of a secret",
    "accounts.User.time_zone": "none at all",
    "approvals.Approval.facts_digest": "of the facts' text",
    "approvals.FactName.key": "of what the facts name, whose files the subject cites: apps.ml.registry.citations",
    "approvals.Vote.facts_digest": "of the facts' text",
    "approvals.Look.digest": "of what was shown",
    "artifacts.Artifact.digest": "the artifact itself",
    "artifacts.Collected.digest": "of bytes that are gone",
    "hawkbit.FileHashes.digest": "of bytes whose other hashes these are; no reason to keep them",
    "rollouts.Rollout.plan_digest": "of which device is in which wave",
    "rollouts.RolloutVariant.digest": "of the variant, which has a foreign key beside it",
    "rollouts.Look.evidence_digest": "of the figures that a verdict was made of",
    "labelling.LabelSchemaVersion.digest": "of its document, which the row holds",
    "snapshots.NodeEnvironment.digest": "of its document, which the row holds",
    "federation.Study.digest": "of its document, which the row holds",
    "federation.SiteStudy.digest": "of its document, which the row holds",
    "federation.Site.fingerprint": "of a certificate",
    "federation.Site.public_key": "a key",
    "federation.SiteStudy.public_key": "a key",
    "federation.LedgerEntry.entry_digest": "of a line, which the row holds",
    "federation.LedgerEntry.previous": "of a line",
    "federation.LedgerEntry.update_digest": "of bytes that left, which are not kept",
    "isolation.PolicyVersion.digest": "of its text, which the row holds",
    "isolation.ProbeReport.policy_digest": "of a policy",
    "devices.EnrolmentToken.digest": "of a secret",
    "devices.Device.token_digest": "of a secret",
    "devices.Device.receipt_digest": "of a receipt",
    "devices.Device.mismatch": "of a release's statement, whose files have foreign keys",
    "devices.DeviceTelemetry.running": "of a release's statement, as the device says",
    "devices.DeviceTelemetry.installed": "of a release's statement, as the device says",
    "mirror.ContainerImage.manifest_digest": "of a manifest, which lies in its row; its parts have foreign keys",
    "mirror.AdvisoryFeed.digest": "of a file that is not kept",
    "releases.KeyList.digest": "of the list's text",
    "releases.Release.payload_digest": "of the statement, whose files have foreign keys",
    "datasets.DatasetVersion.digest": "of the manifest, whose files have foreign keys",
    "experiments.Run.code_digest": "of the engine's files",
    "experiments.Run.spec_digest": "of the spec's text",
    "experiments.Run.metrics_digest": "of the points",
    "experiments.Metric.digest": "of the points",
    "experiments.RunDataset.digest": "MLflow's, of eight hex digits",
    "experiments.LoggedModelMetric.dataset_digest": "MLflow's, of eight hex digits",
    "mlflow_import.ImportedRun.mark": "of the metrics of a source",
    "jobs.Job.spec_digest": "of the spec's text",
    "jobs.Job.idempotency_digest": "of a request",
    "jobs.JobProvenance.code_digest": "of the engine's files",
    "jobs.JobCheckpoint.digest": "bytes of an area, which is not collected",
    "lineage.Edge.source_digest": "the end is named by its id: apps.platform.lineage.citations",
    "lineage.Edge.target_digest": "the end is named by its id: apps.platform.lineage.citations",
    "openlineage.LineageEvent.digest": "of the event's text",
    "pipelines.Pipeline.document_digest": "of the document's text",
    "sweeps.Sweep.document_digest": "of the document's text",
    "registry.Evaluation.pairing": "of the rows and the draws that two evaluations share",
    "registry.ModelVersion.digest": "of the document's text",
    "registry.Variant.heldout": "apps.ml.registry.citations",
}


@pytest.fixture
def sent(folder, actor_for, engineer, project):
    """sent(bytes) -> its digest: uploaded by the engineer."""
    who = actor_for(engineer)

    def send(data: bytes = b"nobody needs it") -> str:
        return publish_upload(actor=who, project=project, stream=[data], name="it").artifact.digest

    return send


@pytest.fixture
def cite(project):
    def job(digest):
        made = Job.objects.create(
            project=project, kind="noop", spec="{}", spec_digest="", queue="cpu", time_limit_seconds=1, grant={}
        )
        JobInput.objects.create(job=made, slot="table", artifact_id=digest)

    return job


def test_what_nothing_cites_goes_and_the_dry_run_says_so(sent, cite, operator):
    kept, gone = sent(b"cited"), sent(b"not cited")
    cite(kept)
    said = collect_garbage(actor=operator, older_than=NOW, dry_run=True)
    assert get_store().exists(gone)
    done = collect_garbage(actor=operator, older_than=NOW)
    assert [one.digest for one in done.gone] == [one.digest for one in said.gone] == [gone]
    assert (done.bytes, done.kept) == (9, [])
    assert (get_store().exists(kept), get_store().exists(gone)) == (True, False)
    assert not Holding.objects.filter(artifact=gone).exists()
    assert gone in AuditRecord.objects.get(action="artifact.collect").body
    assert collect_garbage(actor=operator, older_than=NOW).gone == []


def test_bytes_that_no_row_names_go_too(sent, operator, stored):
    digest = stored(get_store(), b"registered by nobody")
    said = collect_garbage(actor=operator, older_than=NOW, dry_run=True)
    assert [(one.digest, one.known) for one in said.gone] == [(digest, False)]
    assert collect_garbage(actor=operator, older_than=NOW).gone == said.gone
    assert not get_store().exists(digest)


def test_what_is_young_stays(sent, operator):
    sent()
    assert collect_garbage(actor=operator).gone == []


def test_what_came_again_is_young(sent, operator):
    digest = sent()
    Artifact.objects.update(created_at=timezone.now() - timedelta(days=30))
    Holding.objects.update(created_at=timezone.now() - timedelta(days=30))
    sent()
    assert collect_garbage(actor=operator).gone == []
    assert get_store().exists(digest)


def test_an_edge_of_the_lineage_cites(sent, operator, project):
    digest = sent()
    Edge.objects.create(
        project=project, source_type="artifact", source_id=digest, target_type="job", target_id="7", role="in"
    )
    assert collect_garbage(actor=operator, older_than=NOW).gone == []


def test_the_same_bytes_can_come_again(sent, operator):
    digest = sent()
    collect_garbage(actor=operator, older_than=NOW)
    assert verify_stored_artifacts(actor=operator).damaged == []
    assert sent() == digest
    assert get_store().verify(digest)
    assert Artifact.objects.get().digest == digest
    assert not Collected.objects.exists()


def test_what_is_cited_between_the_look_and_the_lock_stays(sent, operator, cite, monkeypatch):
    digest = sent()
    found = garbage.iter_garbage

    def then_cited(at, cutoff):
        listed = list(found(at, cutoff))
        cite(digest)
        return listed

    monkeypatch.setattr(garbage, "iter_garbage", then_cited)
    done = collect_garbage(actor=operator, older_than=NOW)
    assert (done.gone, [one.digest for one in done.kept]) == ([], [digest])
    assert get_store().exists(digest)


def test_an_upload_that_found_the_bytes_and_registers_too_late_is_told(sent, operator, actor_for, engineer, project):
    """The worst moment: equal bytes were found in the store, then collected, and then the rows are written."""
    from apps.platform.artifacts.services.uploads import register

    digest = sent()
    collect_garbage(actor=operator, older_than=NOW)
    with pytest.raises(Conflict) as caught, transaction.atomic():
        register(actor_for(engineer), project, StoredBytes(digest, 15), "it", "text/plain")
    assert caught.value.code == "artifact_collected"
    assert not Holding.objects.exists()


def test_an_upload_under_way_keeps_the_bytes_that_it_found(sent, operator, stored):
    digest = sent()
    Artifact.objects.update(created_at=timezone.now() - timedelta(days=30), touched_at=None)
    Holding.objects.update(created_at=timezone.now() - timedelta(days=30))
    stored(get_store(), b"nobody needs it")  # published again, and not registered yet
    assert collect_garbage(actor=operator).gone == []
    assert get_store().exists(digest)


def test_who_may(actor_for, engineer, sysadmin, folder, sent):
    sent()
    with pytest.raises(Refused):
        collect_garbage(actor=actor_for(engineer))
    assert collect_garbage(actor=actor_for(sysadmin), dry_run=True).gone == []


def test_every_foreign_key_to_an_artifact_cites_it():
    keys = {
        (model, field.name)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.ForeignKey | models.OneToOneField) and field.related_model is Artifact
    }
    assert set(garbage.list_citing_keys()) == keys - {(Holding, "artifact"), (ChunkDigests, "artifact")}


def test_every_column_with_a_digest_is_accounted_for():
    ours = [model for model in apps.get_models() if model.__module__.startswith("apps.")]
    found = {
        f"{model._meta.app_label}.{model.__name__}.{field.name}"
        for model in ours
        for field in model._meta.get_fields()
        if isinstance(field, models.CharField) and ("digest" in field.name or field.max_length == 64)
    }
    assert found == set(DIGEST_COLUMNS)
