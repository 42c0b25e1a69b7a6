"""A file store of MLflow comes over whole, once, and whatever is wrong in it is named."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime

import pytest

from apps.gateways.mlflow_import.models import ImportedRun
from apps.ml.experiments.metrics.series import compute_run_digest
from apps.ml.experiments.models import Experiment, LoggedModel, Metric, MetricPoint, Run, RunModel
from apps.ml.experiments.services.experiments import restore_experiment
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.services import request_promotion
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge
from tests.apps.gateways.mlflow_import.conftest import DELETED, MODEL, OTHER, RUN, RUN_META, points

pytestmark = [pytest.mark.django_db, pytest.mark.services]
INSIDE = "4" * 32  # a run of the deleted experiment


def test_a_run_comes_over_whole(take, project):
    take()
    run = Run.objects.get(pk=RUN)
    assert (run.project, run.experiment.name, run.name, run.state) == (project, "iris", "first", "finished")
    assert run.started_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (run.ended_at - run.started_at).total_seconds() == 5
    assert (run.client_user, run.deleted_at, run.job) == ("ada", None, None)
    assert dict(run.params.values_list("key", "value")) == {"lr": "0.1", "opt/name": "adam", "empty": ""}
    assert dict(run.tags.values_list("key", "value")) == {"mlflow.note.content": "# Note\n"}
    data = run.datasets.get()
    assert (data.name, data.digest, data.context, data.schema) == ("d", "abcd1234", "train", "{}")
    assert (run.metrics_count, run.metrics_digest) == (7, compute_run_digest(run.metrics.all()))


def test_metrics_keep_their_history(take):
    take()
    loss = Metric.objects.get(run=RUN, key="train/loss")
    assert (loss.value, loss.step, loss.count, loss.lowest, loss.highest) == (0.25, 2, 3, 0.25, 1.0)
    assert list(loss.points.order_by("id").values_list("step", "value")) == [(0, 1.0), (1, 0.5), (2, 0.25)]
    odd = [point.number for point in MetricPoint.objects.filter(metric__key="odd").order_by("id")]
    assert math.isnan(odd[0])
    assert odd[1:] == [math.inf, -math.inf]
    assert Metric.objects.get(run=RUN, key="acc").step == 5


def test_the_scanner_of_uploads_sees_each_file(take, settings):
    command = "/bin/sh -c 'grep -q hello && exit 1 || exit 0'"
    settings.ENV = settings.ENV.model_copy(update={"upload_scan_command": command})
    report = take(status=1)
    assert "notes/a b#ü.txt" in report
    assert set(Run.objects.get(pk=RUN).artifacts.values_list("path", flat=True)) == {"empty.txt", "old/MLmodel"}
    assert AuditRecord.objects.filter(action="artifact.malware_found").count() == 1


def test_files_lie_in_the_store_and_are_no_garbage(take, operator):
    take()
    rows = dict(Run.objects.get(pk=RUN).artifacts.values_list("path", "artifact_id"))
    assert set(rows) == {"notes/a b#ü.txt", "empty.txt", "old/MLmodel"}
    assert b"".join(get_store().open(rows["notes/a b#ü.txt"])) == b"hello"
    from datetime import timedelta

    assert collect_garbage(actor=operator, older_than=timedelta(0), dry_run=True).gone == []


def test_a_deleted_experiment_is_restored_with_its_runs(take, written, operator):
    meta = RUN_META.format(id=INSIDE, name="in", status=3, stage="deleted", end="1700000005000", uri="file:///x")
    written.put(f".trash/8/{INSIDE}/meta.yaml", meta.replace("'7'", "'8'"))
    written.put(f".trash/8/{INSIDE}/metrics/m", points([1.0]))
    take()
    gone = Experiment.objects.get(name="gone")
    assert Run.objects.get(pk=INSIDE).deleted_at == gone.deleted_at
    restore_experiment(actor=operator, experiment=gone)
    assert Run.objects.get(pk=INSIDE).deleted_at is None


def test_every_stage_of_life_is_kept(take):
    take()
    assert Run.objects.get(pk=DELETED).deleted_at is not None
    assert Run.objects.get(pk=DELETED).state == "killed"
    assert (Run.objects.get(pk=OTHER).state, Run.objects.get(pk=OTHER).ended_at) == ("running", None)
    assert Experiment.objects.get(name="gone").deleted_at is not None
    assert Experiment.objects.get(name="Default").number == 0
    assert dict(Experiment.objects.get(name="iris").tags.values_list("key", "value")) == {"team": "a"}


def test_a_logged_model_keeps_its_run_and_its_files(take):
    take()
    model = LoggedModel.objects.get()
    assert (model.pk, model.name, model.state, model.source_run_id, model.model_type) == (
        MODEL,
        "net",
        "ready",
        RUN,
        "clf",
    )
    assert set(model.artifacts.values_list("path", "size")) == {("MLmodel", 12), ("data/w.bin", 256)}
    metric = model.metrics.get()
    assert (metric.key, metric.value, metric.run_id, metric.dataset_name) == ("acc", 0.9, RUN, "d")
    link = RunModel.objects.get()
    assert (link.run_id, link.model_id, link.direction, link.step) == (RUN, MODEL, "output", 5)
    assert not ImportedRun.objects.exclude(links=[]).exists()


def test_versions_keep_their_numbers_and_find_their_files(take):
    take()
    model = Model.objects.get()
    assert (model.name, model.description, model.versions_count) == ("Iris Model", "iris", 2)
    one, two = ModelVersion.objects.order_by("number")
    assert (one.number, one.stage, one.description, one.logged_model_id, one.run_id) == (
        1,
        "Staging",
        "v one",
        MODEL,
        RUN,
    )
    assert one.source == f"models:/{MODEL}"
    number = Experiment.objects.get(name="iris").number
    assert two.source == f"mlflow-artifacts:/{number}/{RUN}/artifacts/old"
    assert '"files":[{"path":"MLmodel","sha256":' in two.document
    assert dict(one.tags.values_list("key", "value")) == {"x": "y"}


def test_production_waits_for_its_approval(take):
    said = take()
    assert list(Alias.objects.values_list("name", "version__number")) == [("champion", 1)]
    assert "alias 'production' of 'Iris Model' is at version 2 there. It moves by approval alone" in said


def test_each_run_and_version_has_its_record(take):
    take()
    records = AuditRecord.objects.filter(action="run.import")
    assert set(records.values_list("object_id", flat=True)) == {RUN, OTHER, DELETED}
    body = AuditRecord.objects.get(action="run.import", object_id=RUN).body
    assert "mlruns" in body
    assert Run.objects.get(pk=RUN).metrics_digest in body
    assert AuditRecord.objects.filter(action="model_version.import").count() == 2


def test_a_second_import_changes_nothing(take):
    first = take()
    before = AuditRecord.objects.count()
    ids = list(MetricPoint.objects.values_list("id", flat=True))
    assert take().splitlines()[:20] == first.splitlines()[:20]
    assert AuditRecord.objects.count() == before
    assert list(MetricPoint.objects.values_list("id", flat=True)) == ids


def test_a_second_import_adds_what_is_new(take, written):
    take()
    written.put(f"7/{OTHER}/metrics/m", points([1.0, 2.0, 3.0]))
    written.put(f"7/{OTHER}/params/late", "x")
    written.put(f"7/{OTHER}/artifacts/late.txt", "late")
    written.run(OTHER, name="second", status=4)
    take()
    run = Run.objects.get(pk=OTHER)
    assert (run.state, run.metrics_count, run.params.get().value) == ("failed", 3, "x")
    assert run.artifacts.get().path == "late.txt"
    assert run.ended_at == datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC)


def test_what_was_changed_there_is_named_and_stays_here(take, written):
    take()
    written.put(f"7/{RUN}/params/lr", "0.2")
    written.put(f"7/{RUN}/metrics/train/loss", points([9.0, 0.5, 0.25, 0.1]))
    written.put(f"7/{RUN}/artifacts/empty.txt", "not any more")
    said = take(status=1)
    assert f"run {RUN}: 3 params there, 2 here" in said
    assert "metric 'train/loss': its points here are others than those there; none was added" in said
    assert "empty.txt has 12 bytes there and 0 here; it was not changed" in said
    assert Run.objects.get(pk=RUN).params.get(key="lr").value == "0.1"
    assert Metric.objects.get(run=RUN, key="train/loss").count == 3


def test_what_was_deleted_here_stays_deleted(take, written):
    take()
    now = datetime.now(UTC)
    Run.objects.filter(pk=OTHER).update(deleted_at=now)
    written.put(f"7/{OTHER}/metrics/m", points([1.0, 2.0]))
    take()
    assert Run.objects.get(pk=OTHER).deleted_at == now


def test_a_dry_run_writes_nothing(take):
    said = take("--dry-run")
    assert "points                             8               0  differs" in said
    assert not Experiment.objects.exists()
    assert not AuditRecord.objects.filter(action__contains="import").exists()


def test_one_experiment_comes_with_its_versions(take, written):
    written.run(RUN.replace("1", "4"))
    take("--experiment", "Default")
    assert not Run.objects.exists()
    assert not Model.objects.exists()
    take("--experiment", "iris", status=0)
    assert ModelVersion.objects.count() == 2
    assert set(Experiment.objects.values_list("name", flat=True)) == {"Default", "iris"}


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (f"7/{RUN}/meta.yaml", "a: [", f"run {RUN}: "),
        (f"7/{RUN}/meta.yaml", "- 1", "is no table of names and values"),
        (f"7/{RUN}/meta.yaml", "!!python/object/apply:os.system [true]", "is no YAML"),
        (f"7/{RUN}/meta.yaml", "status: 99", "99 is no status"),
        (f"7/{RUN}/meta.yaml", "status: !!int ''", f"{RUN}/meta.yaml holds a value that is not what it says"),
        (f"7/{RUN}/meta.yaml", "status: 3\nstart_time: .inf", f"run {RUN}: meta.yaml holds inf where a whole number"),
        (f"7/{RUN}/metrics/train/loss", "1700000000000 1.0 0\nnonsense\n", "line 2 of metric 'train/loss' is no point"),
        (f"7/{RUN}/metrics/far", f"1700000000000 1.0 {2**60}\n", "is out of range"),
        (f"7/{RUN}/metrics/late", f"{10**17} 1.0 1\n", "is no time"),
        (f"7/{RUN}/params/lr", b"\xff\xfe", "is not UTF-8"),
        (f"7/{RUN}/params/lr", "a\x00b", "holds a NUL character"),
        (f"7/{RUN}/params/{'k' * 251}", "v", "has 251 characters; 250 are the most"),
        (f"7/models/{MODEL}/metrics/acc", "1 2\n", "holds a line that is no point"),
        ("models/Iris Model/version-1/meta.yaml", "x: 1", "it lacks 'version'"),
        ("8/meta.yaml", "x: 1", "experiment 8: it lacks 'name'"),
    ],
)
def test_what_is_broken_is_named_and_the_others_come(take, written, path, text, said):
    written.put(path, text)
    assert said in take(status=1)
    assert Run.objects.filter(pk=DELETED).exists()
    assert not Run.objects.filter(pk=OTHER, deleted_at__isnull=False).exists()


def test_a_link_out_of_the_store_is_not_followed(take, written, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (written.root / f"7/{RUN}/artifacts/link").symlink_to(secret)
    os.symlink(secret, written.root / f"7/{RUN}/params/link")
    assert "link is no regular file" in take(status=1)
    assert not Run.objects.get(pk=RUN).artifacts.filter(path="link").exists()
    assert not Run.objects.get(pk=RUN).params.filter(key="link").exists()


def test_artifacts_outside_of_the_store_are_not_read(take, written, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    written.run(OTHER, name="second", status=1, end="null", uri=f"file://{outside}")
    said = take(status=1)
    assert f"run {OTHER}: its artifacts are at file://{outside}, which is not below" in said


def test_artifacts_that_a_server_kept_come_from_their_folder(take, written, tmp_path):
    kept = tmp_path / "mlartifacts"
    (kept / "7" / OTHER / "artifacts").mkdir(parents=True)
    (kept / "7" / OTHER / "artifacts" / "w.bin").write_text("w")
    written.run(OTHER, name="second", status=1, end="null", uri=f"mlflow-artifacts:/7/{OTHER}/artifacts")
    assert "--artifacts names the folder" in take(status=1)
    take("--artifacts", str(kept))
    assert Run.objects.get(pk=OTHER).artifacts.get().path == "w.bin"


def test_a_run_of_another_project_is_not_taken(take, other_project):
    experiment = Experiment.objects.create(project=other_project, number=1, name="x", created_by="x")
    Run.objects.create(id=RUN, project=other_project, experiment=experiment, name="theirs", created_by="x")
    assert f"run {RUN} belongs to another experiment or project here" in take(status=1)
    assert Run.objects.get(pk=RUN).name == "theirs"


def test_an_alias_that_was_moved_here_stays(take, written):
    take()
    Alias.objects.update(version=ModelVersion.objects.get(number=2))
    assert "alias champion of Iris Model is at version 2 here and stays" in take(status=1)
    assert Alias.objects.get().version.number == 2


@pytest.mark.parametrize(
    ("options", "source", "said"),
    [
        (("--experiment", "nothing"), "", "The source has no experiment called 'nothing'"),
        ((), "/nowhere/mlruns", "is no folder"),
        (("--as", "nobody"), "", "There is no user 'nobody'"),
    ],
)
def test_bad_input_ends_with_status_2(take, options, source, said):
    assert said in take(*options, source=source, status=2)


def test_a_folder_without_experiments_is_refused(take, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no experiment" in take(source=str(tmp_path / "empty"), status=2)


def test_as_a_person(take, engineer, viewer):
    assert "may not do run.import" in take("--as", viewer.username, status=2)
    take("--as", engineer.username)
    assert '"label":"engineer"' in AuditRecord.objects.filter(action="run.import").first().body.replace(" ", "")


# -- what the registry makes of versions that came over -------------------------------------------------------------
def test_a_version_that_came_over_is_one_of_the_registrys(take, web, api, engineer, approver, actor_for):
    take()
    for number, files in ((1, ["MLmodel", "data/w.bin"]), (2, ["MLmodel"])):
        version = ModelVersion.objects.get(number=number)
        rows = list(version.files.order_by("path").values_list("path", "artifact_id", "size"))
        assert [path for path, _, _ in rows] == files
        page = f"/p/demo/models/Iris%20Model/{number}"
        for tab in ("", "/files", "/lineage"):
            assert web(engineer).get(page + tab).status_code == 200
        told = api(engineer).get(f"/api/v1/projects/demo/models/Iris%20Model/versions/{number}").json()
        assert [(one["path"], one["sha256"], one["size"]) for one in told["files"]] == rows
        asked = request_promotion(actor=actor_for(engineer), version=version, comment="please")
        assert set(json.loads(asked.facts)["candidate"]["files"]) == set(files)
    source = Edge.objects.get(target_type="model_version", target_id=str(ModelVersion.objects.get(number=1).pk))
    assert (source.source_type, source.source_id) == ("logged_model", MODEL)


def test_a_folder_is_not_one_that_differs_by_case(take, written):
    written.put(f"7/{RUN}/artifacts/OLD/secret", "s")
    take()
    assert set(ModelVersion.objects.get(number=2).files.values_list("path", flat=True)) == {"MLmodel"}


def test_no_word_of_the_source_is_taken_for_an_approval(take, written):
    written.put("models/Iris Model/aliases/Production", "1")
    written.version(1, f"models:/{MODEL}", model=MODEL, run=RUN, stage="Production")
    said = take()
    assert "alias 'Production' of 'Iris Model' is at version 1 there. It moves by approval alone" in said
    assert "version 1 of 'Iris Model' is in the stage Production there. It moves by approval alone" in said
    assert list(Alias.objects.values_list("name", flat=True)) == ["champion"]
    assert set(ModelVersion.objects.values_list("stage", flat=True)) == {"None"}


@pytest.mark.parametrize("name", ["Latest", "v3", "a b"])
def test_an_alias_that_no_client_may_set_is_named(take, written, name):
    written.put(f"models/Iris Model/aliases/{name}", "1")
    assert f"alias '{name}' of 'Iris Model': " in take(status=1)
    assert list(Alias.objects.values_list("name", flat=True)) == ["champion"]


def test_an_alias_that_looks_like_production_is_left_out(take, written):
    for name in ("\u0440roduction", "pr0duction"):
        written.put(f"models/Iris Model/aliases/{name}", "1")
    said = take(status=1)
    assert "mixes scripts" in said
    assert "looks like one that moves only by an approval" in said
    assert list(Alias.objects.values_list("name", flat=True)) == ["champion"]


# -- what became of it here meanwhile -------------------------------------------------------------------------------
def test_a_link_that_came_there_since_comes_too(take, written):
    take()
    written.put(f"7/{OTHER}/inputs/9f/meta.yaml", f"source_id: {MODEL}\nsource_type: MODEL\n")
    take()
    assert set(RunModel.objects.values_list("run_id", "direction")) == {(RUN, "output"), (OTHER, "input")}
    before = AuditRecord.objects.count()
    take()
    assert AuditRecord.objects.count() == before


def test_an_experiment_that_was_deleted_here_is_left_out(take, written):
    take()
    Experiment.objects.filter(name="iris").update(deleted_at=datetime.now(UTC))
    written.run("5" * 32)
    said = take(status=1)
    assert "experiment 'iris' is deleted here: nothing of it was taken" in said
    assert not Run.objects.filter(pk="5" * 32).exists()
    assert "is deleted here" in take("--dry-run")


def test_a_run_that_is_being_purged_is_left_out(take, written):
    take()
    now = datetime.now(UTC)
    Run.objects.filter(pk=OTHER).update(deleted_at=now, purging_at=now)
    ImportedRun.objects.filter(run=OTHER).update(complete=False)
    written.put(f"7/{OTHER}/params/late", "x")
    written.run("5" * 32)
    assert f"run {OTHER} is being purged here: it was left out" in take(status=1)
    assert not Run.objects.get(pk=OTHER).params.exists()
    assert Run.objects.filter(pk="5" * 32).exists()
