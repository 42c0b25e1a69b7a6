"""A bundle from the source into quarantine, and from there, approved, into a project of the target."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, NotFound, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import add_files
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.versions.registration import add_version, ensure_dataset
from apps.ml.experiments.metrics.series import compute_run_digest, extend_digest
from apps.ml.experiments.models import Metric, MetricPoint, Run, RunArtifact, RunParam
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.services import request_promotion
from apps.platform.artifacts.models import Holding
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.queries import fetch_graph
from apps.site.transfer import services
from apps.site.transfer.facts import open_catalogue
from apps.site.transfer.folders import get_incoming_folder
from apps.site.transfer.identity import get_applied_sequence
from apps.site.transfer.models import AppliedSequence, BundleSigner, IncomingBundle, PeerPlane
from deepseek.bundles.spec import PlaneRef
from tests.apps.site.transfer.conftest import SOURCE, TARGET, become, sign, trust


def forget_runs():
    """The target never saw the runs of the source."""
    for run in Run.objects.all():
        run.model_versions.update(run=None)
        run.delete()


@pytest.fixture
def version(registered):
    return registered(names=("fp32", "int8"))


@pytest.fixture
def data(site, project, held):
    """The first version of a dataset of the source."""
    artifact = held(b"rows")
    return add_files(actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")])


@pytest.mark.django_db(transaction=True)
def test_a_model_arrives_with_figures_variants_run_and_lineage(
    site, version, other_project, build, receive, check, load, decide_promotion
):
    trust(other_project, "Ada", "Bo")
    run_id, document = version.run_id, version.document
    built = build("model/wti-forecast:v1")
    forget_runs()
    bundle = check(receive(*built))
    assert (bundle.state, bundle.error) == ("checked", None)
    assert bundle.preview["conflicts"] == 0
    load(bundle)
    arrived = ModelVersion.objects.get(model__project=other_project)
    assert (arrived.number, arrived.document, arrived.digest) == (1, document, version.digest)
    assert [variant.name for variant in arrived.variants.order_by("pk")] == ["fp32", "int8"]
    assert [variant.parent_id is None for variant in arrived.variants.order_by("pk")] == [True, False]
    assert arrived.run_id == run_id
    assert not Alias.objects.filter(model=arrived.model).exists()
    graph = fetch_graph(site.receiver, other_project, "model_version", str(arrived.pk), direction="up", depth=9)
    kinds = {type for type, _ in graph.nodes}
    assert {"variant", "artifact", "foreign_job", "source"} <= kinds
    assert any(label.label.endswith("(source)") for label in graph.nodes.values())
    assert not get_incoming_folder(bundle).exists()
    assert decide_promotion(arrived).state == "approved"
    actions = set(AuditRecord.objects.values_list("action", flat=True))
    assert {"bundle.request", "bundle.receive", "bundle.apply", "model.transfer_version"} <= actions


@pytest.fixture
def decide_promotion(site, approve):
    """decide_promotion(version) -> the approval of its promotion on the target."""
    return lambda version: approve(request_promotion(actor=site.receiver, version=version))


def test_a_run_travels_by_itself_with_its_points_and_files(
    site, version, held, other_project, build, receive, check, load
):
    trust(other_project, "Ada", "Bo")
    run = version.run
    RunArtifact.objects.create(run=run, path="plots/a.txt", artifact=held(b"a"), size=1, media_type="text/plain")
    RunParam.objects.create(run=run, key="seed", value="7")
    place = {"run": run, "project": run.project, "experiment": run.experiment, "started_at": run.started_at}
    about = {"key": "loss", "value": 0.5, "step": 3, "at": run.started_at, "first_step": 3, "count": 1}
    metric = Metric.objects.create(**place, **about, digest=extend_digest("", 3, 0.5))
    MetricPoint.objects.create(metric=metric, step=3, value=0.5, at=run.started_at)
    Run.objects.filter(pk=run.pk).update(metrics_digest=compute_run_digest([metric]), metrics_count=1)
    run.refresh_from_db()
    alone, both = build(f"run/{run.pk}"), build("model/wti-forecast:v1", f"run/{run.pk}")
    assert len(both[1].head.contents) == 2  # the run of the model once, with the files that were asked for
    forget_runs()
    load(check(receive(*alone)))
    arrived = Run.objects.get(pk=run.pk)
    assert (arrived.project, arrived.params.get().value) == (other_project, "7")
    assert arrived.metrics.get().value == MetricPoint.objects.get(metric__run=arrived).value == 0.5
    assert arrived.artifacts.get().artifact_id == sha256_hex("a")
    assert not Model.objects.filter(project=other_project).exists()
    arrived.delete()
    load(check(receive(*both)))
    assert Run.objects.get().artifacts.get().path == "plots/a.txt"


def test_data_arrive_and_are_numbered_anew(site, project, other_project, held, carried, load):
    for where, data in ((project, b"1"), (project, b"2"), (other_project, b"3")):
        artifact, actor = held(data, where), site.builder if where == project else site.receiver
        add_files(actor=actor, project=where, dataset_name="wti", files=[("a.txt", artifact.pk, "text/plain")])
    bundle = carried("data/wti:v2")
    assert bundle.preview["rows"][0]["detail"] == "after wti v1"
    load(bundle)
    arrived = DatasetVersion.objects.get(dataset__project=other_project, number=2)
    assert arrived.files.get().artifact_id == held(b"2").pk
    assert Holding.objects.filter(project=other_project, artifact=held(b"2").pk).exists()


def test_a_table_in_parts_arrives_in_parts(site, project, other_project, held, carried, load):
    files = [(f"part-{number}.parquet", held(b"%d" % number, project), PARQUET) for number in range(2)]
    add_version(
        actor=site.builder,
        dataset=ensure_dataset(actor=site.builder, project=project, name="days"),
        files=files,
        media_type=PARQUET,
        rows=5,
        columns=[{"name": "t", "dtype": "int64"}],
        script="upload",
        params={},
        part_rows={"part-0.parquet": 2, "part-1.parquet": 3},
    )
    load(carried("data/days:v1"))
    arrived = DatasetVersion.objects.get(dataset__project=other_project)
    assert (arrived.parts, arrived.rows) == (2, 5)
    assert sorted(arrived.files.values_list("path", "rows")) == [("part-0.parquet", 2), ("part-1.parquet", 3)]


def test_what_the_target_has_is_not_carried(site, data, held, other_project, build, receive, check, load):
    trust(other_project, "Ada", "Bo")
    held(b"rows", other_project)
    whole, lean = build("data/wti:v1"), build("data/wti:v1", present=[sha256_hex("rows")])
    assert whole[1].objects == lean[1].objects + 1
    load(check(receive(*lean)))
    assert DatasetVersion.objects.filter(dataset__project=other_project).count() == 1


def test_nothing_is_in_the_store_before_it_is_approved(site, version, other_project, carried):
    carried("model/wti-forecast:v1")
    assert not Holding.objects.filter(project=other_project).exists()
    assert not Model.objects.filter(project=other_project).exists()


def test_an_older_or_equal_bundle_is_refused(site, data, other_project, build, receive, check, load):
    trust(other_project, "Ada", "Bo")
    first, second = build("data/wti:v1"), build("data/wti:v1")
    waiting = check(receive(*first))
    load(check(receive(*second)))
    assert AppliedSequence.objects.get(project=other_project, source_id=SOURCE.id).sequence == 2
    for refused in (lambda: receive(*second), lambda: receive(*first)):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.code == "bundle_replayed"
    assert check(waiting).error["code"] == "bundle_replayed"  # received before, and older now


def test_what_one_project_applied_closes_nothing_for_another(
    site, data, project, other_project, build, receive, check, load
):
    """The older bundle, and the very same one, still go into a project that trusts its signers."""
    first, second = build("data/wti:v1"), build("data/wti:v1")
    trust(other_project, "Ada", "Bo")
    trust(project, "Ada", "Bo")
    load(check(receive(*second)))
    become(TARGET)
    for built in (first, second):
        document = sign(built[1], "Ada", "Bo")
        bundle = services.receive_envelope(actor=site.builder, project=project, document=document)
        assert (bundle.project, bundle.sequence) == (project, built[1].head.sequence)
    with pytest.raises(Conflict) as caught:
        services.receive_envelope(actor=site.builder, project=project, document=document)
    assert caught.value.code == "bundle_received"


def test_what_belongs_to_the_plane_only_rises_whatever_project_brings_it(db, project, other_project):
    PeerPlane.objects.create(plane_id=SOURCE.id, name="source", applied_sequence=7)
    AppliedSequence.objects.create(project=project, source_id=SOURCE.id, sequence=9)
    found = {
        (where.slug, plane_contents): get_applied_sequence(where.pk, SOURCE.id, plane_contents=plane_contents)
        for where in (project, other_project)
        for plane_contents in (False, True)
    }
    assert found == {("demo", False): 9, ("demo", True): 9, ("other", False): 0, ("other", True): 7}


def test_a_bundle_that_became_old_while_it_waited_voids_its_approval(
    site, data, other_project, build, receive, check, load, approve
):
    trust(other_project, "Ada", "Bo")
    first, second = build("data/wti:v1"), build("data/wti:v1")
    waiting = check(receive(*first))
    approval = services.request_application(actor=site.receiver, bundle=waiting)
    load(check(receive(*second)))
    with pytest.raises(Conflict) as caught:
        approve(approval)
    assert caught.value.code == "approval_void"


def test_a_fact_that_moves_after_the_approval_sends_it_back(site, data, other_project, carried, approve):
    bundle = carried("data/wti:v1")
    approve(services.request_application(actor=site.receiver, bundle=bundle))
    Dataset.objects.create(project=other_project, name="wti", created_by="x", versions_count=4)
    bundle = IncomingBundle.objects.select_related("project").get(pk=bundle.pk)
    assert bundle.state == "approved"
    services.load_bundle(actor=site.worker, bundle=bundle)
    assert (bundle.state, bundle.error["code"]) == ("checked", "bundle_facts_changed")
    assert not DatasetVersion.objects.filter(dataset__project=other_project).exists()


def test_a_key_that_is_revoked_meanwhile_ends_it(site, data, carried, approve):
    bundle = carried("data/wti:v1")
    approval = services.request_application(actor=site.receiver, bundle=bundle)
    services.revoke_signer(actor=site.receiver, signer=BundleSigner.objects.get(person="Bo"), reason="stolen")
    with pytest.raises(Conflict) as caught:
        approve(approval)
    assert caught.value.code == "approval_void"


def test_a_key_that_is_revoked_or_expires_after_the_approval_ends_it(site, data, other_project, carried, approve):
    """Between the vote and the load: the worker finds it, and applies nothing."""
    bundle = carried("data/wti:v1")
    for lapse in (
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"state": "revoked"},
    ):
        approve(services.request_application(actor=site.receiver, bundle=bundle))
        signers = BundleSigner.objects.filter(person="Bo")
        signers.update(**lapse)
        services.drive_bundles(actor=site.worker)
        bundle.refresh_from_db()
        assert (bundle.state, bundle.error["code"]) == ("checked", "key_unknown")
        assert "Bo" in str(bundle.error)
        signers.update(expires_at=None)
    assert not DatasetVersion.objects.filter(dataset__project=other_project).exists()


def test_a_look_at_an_approval_reads_no_catalogue_and_a_vote_does(
    site, data, carried, approve, web, django_user_model, monkeypatch
):
    bundle = carried("data/wti:v1")
    approval = services.request_application(actor=site.receiver, bundle=bundle)
    opened = []
    monkeypatch.setattr(
        "apps.site.transfer.facts.open_catalogue", lambda row: opened.append(row) or open_catalogue(row)
    )
    page = web(site.decider_user).get(reverse("approvals:detail", args=["other", approval.pk]))
    assert (page.status_code, "in a new dataset wti" in page.content.decode(), opened) == (200, True, [])
    assert approve(approval).state == "approved"
    assert opened == [bundle]


def test_conflicts_are_named_and_nothing_can_be_asked_for(site, version, other_project, carried):
    bundle = carried("model/wti-forecast:v1")  # its run is here already, in another project
    states = {row["kind"]: row["change"] for row in bundle.preview["rows"]}
    assert states["run"] == "conflict"
    with pytest.raises(Conflict) as caught:
        services.request_application(actor=site.receiver, bundle=bundle)
    assert caught.value.code == "bundle_conflicts"


def test_who_may_not_is_refused(site, version, other_project, project, carried, actor_for, viewer, build):
    bundle = carried("model/wti-forecast:v1")
    with pytest.raises(NotFound):  # of another project
        services.request_application(actor=site.builder, bundle=bundle)
    with pytest.raises(Refused):
        services.discard_bundle(actor=site.decider, bundle=bundle)
    with pytest.raises(Refused):
        services.request_bundle(actor=actor_for(viewer), project=project, contents=["run/x"], inventory="0" * 64)
    with pytest.raises(Refused):
        services.load_bundle(actor=site.receiver, bundle=bundle)


def test_a_discarded_bundle_leaves_nothing_and_ends_the_request(site, data, carried):
    bundle = carried("data/wti:v1")
    approval = services.request_application(actor=site.receiver, bundle=bundle)
    services.discard_bundle(actor=site.receiver, bundle=bundle, reason="not needed")
    approval.refresh_from_db()
    assert (bundle.state, approval.state) == ("discarded", "void")
    assert not get_incoming_folder(bundle).exists()
    with pytest.raises(Conflict):
        services.discard_bundle(actor=site.receiver, bundle=bundle)


def test_another_targets_bundle_is_refused(site, data, other_project, build):
    trust(other_project, "Ada", "Bo")
    _, manifest = build("data/wti:v1", target=PlaneRef("d" * 32, "elsewhere"))
    become(TARGET)
    with pytest.raises(Exception) as caught:
        services.receive_envelope(actor=site.receiver, project=other_project, document=sign(manifest, "Ada", "Bo"))
    assert caught.value.code == "bundle_of_another_target"
    assert json.loads(manifest.text)["target"]["name"] == "elsewhere"
