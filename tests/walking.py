"""Every address of the plane that answers a GET, and a plane with as many rows as one likes to ask them of.

For tests/test_queries.py and benchmarks/web.py: what a page costs must not grow with the tables.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.personal_data.models import PersonalColumn
from apps.fleet.devices.models import (
    Assignment,
    AssignmentEvent,
    Device,
    DeviceGroup,
    DeviceLabel,
    DeviceTelemetry,
    EnrolmentToken,
)
from apps.fleet.monitoring.models import Alarm, Monitor, Retraining, Window
from apps.fleet.recalls.models import Recall, RecallDevice, RecallItem
from apps.fleet.releases.models import Release, ReleaseKey
from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice, RolloutVariant, Wave
from apps.gateways.hawkbit.models import MaintenanceWindow, UpdateFile
from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
    Metric,
    MetricPoint,
    Run,
    RunArtifact,
    RunPanel,
    RunParam,
    RunTag,
)
from apps.ml.federation.certificates import create_authority
from apps.ml.federation.key_cipher import encrypt_key
from apps.ml.federation.models import LedgerEntry, RoundResult, Site, SiteStudy, Study
from apps.ml.labelling.models import (
    Annotation,
    Annotator,
    AnnotatorGroup,
    LabellingProject,
    LabelSchema,
    LabelSchemaVersion,
    LabelServer,
    LabelTask,
    RemoteTask,
)
from apps.ml.labelling.services.servers import MAX_SERVERS
from apps.ml.observations.models import ClassCount, HourFigures, ObservationSource
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.schemas import STEPS_LIMIT
from apps.ml.registry.models import Alias, AliasMove, Evaluation, EvaluationSet, Model, ModelVersion, Variant
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.series import Budget
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import build_verdict
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.platform.accounts.models import ApiToken, Membership, Project, ServiceAccount, User
from apps.platform.approvals.models import Approval, Vote
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.services import record
from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.comments.models import Comment
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.holds.models import Hold
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobOutput, JobParent
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge
from apps.platform.nodes.models import Node, NodeProbe, Probe
from apps.platform.notices.models import Delivery, Notice, Webhook
from apps.platform.notices.webhook_secrets import encrypt_secret
from apps.platform.preferences.models import SavedView
from apps.platform.recertification.models import Campaign, GrantReview
from apps.site.compliance.clauses import CLAUSES
from apps.site.compliance.models import Attachment, ClauseResult, EvidenceRun
from apps.site.isolation.models import PolicyVersion, ProbeReport
from apps.site.mirror.models import (
    ContainerImage,
    ImageLayer,
    ImageTag,
    Package,
    PackageDependency,
    PackageFile,
    PackageVersion,
)
from apps.site.security_alarms.models import SecurityAlarm
from apps.site.snapshots.models import NodeEnvironment, Snapshot, SnapshotOperation
from apps.site.transfer.folders import get_outgoing_folder
from apps.site.transfer.models import BundleSigner, IncomingBundle, OutgoingBundle
from deepseek.bundles.spec import BundleHead, BundleManifest, Content, ObjectRef, PlaneRef, VolumeRef
from deepseek.federated.spec import MAX_SITES, DataSchema, StudySpec
from deepseek.signing.keys import generate_key

PEOPLE = {"engineer": "", "auditor": "auditor", "secadmin": "security_admin", "sysadmin": "system_admin"}
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
PNG = b"\x89PNG\r\n\x1a\n"  # its first bytes, which tell what it is
TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n"
MODEL_ID = f"m-{1:032x}"  # of the logged model
TRIALS = 100  # of a sweep
KEYS = 200  # params, metrics and tags of one run
PARTS = 100  # of the evidence of one alarm
PACKAGE_VERSIONS = 200  # of one package
RUN_IDS = [f"{number:032x}" for number in (1, 2)]  # of the first runs
RUN_QUERIES = {
    "runs/compare": "?ids={run},{other}",
    "projects/<slug:project>/comments": "?object_type=run&object_id={run}",
    "p/<slug:project>/runs/panels": "?selected={run},{other}",
    "runs/points.csv": "?ids={run},{other}&key=loss",
    "metrics/history": "?key=loss",
    "<slug:run>/verdict": "?against={other}",
    "models/<str:name>/compare": "?ids=1&ids=2",
    "data/<slug:name>/<str:version>/origin": "?row=1",
    "search": "?q=job",
    "schedules/preview": "?cron=@daily",
    "v1/environments": "?of=node:node-0",
    "environments": "?left=node:node-0&right=node:node-0",
    "environments/diff": "?left=node:node-0&right=node:node-0",
    "/drift": "?against=1",
    "/v1/projects/<slug:project>/models/<str:name>/baselines": "?set={set}",
}
STATES = [*JobState.values, JobState.SUCCEEDED, JobState.SUCCEEDED]
LEFT_OUT = {
    "api/v1/projects/<slug:project>/jobs/<int:pk>/events": "a stream: it stays open",
    "api/v1/projects/<slug:project>/pipelines/<int:pk>/events": "a stream: it stays open",
    "api/v1/audit/export": "reads the whole trail, by its nature",
    "audit/audit_ed25519.pub.pem": "a file of the dispatcher's machine",
    "audit/checkpoints.jsonl": "a file of the dispatcher's machine",
    "audit/export": "reads the whole trail, by its nature",
    "readyz": "503 without a worker, a dispatcher and a beat",
    "metrics": "for a scraper, by its token or address: tests/controlplane/test_metrics.py counts its queries",
    "api/<path:rest>": "is there to answer 404",
    "simple": "redirects to simple/",
    "simple/<str:name>": "redirects to the address with a slash",
    "accounts/": "allauth's: redirects, or a confirmation by password first; no table of ours",
}


# -- addresses ------------------------------------------------------------------------------------------------------
def routes(*, of_gets: bool = False) -> Iterator[str]:
    """The route of every address that the URL resolver knows. `of_gets`: but for those that surely take no GET."""

    def below(resolver, prefix: str) -> Iterator[str]:
        for pattern in resolver.url_patterns:
            route = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from below(pattern, route)
            elif not of_gets or answers_get(pattern):
                yield route

    yield from dict.fromkeys(below(get_resolver(), ""))


def answers_get(pattern: URLPattern) -> bool:
    """False for an operation of the REST API without one; of other views only a request can tell."""
    view = getattr(pattern.callback, "cls", None)
    return view is None or hasattr(view, "get") or "get" in getattr(pattern.callback, "actions", {})


def left_out(route: str) -> str:
    """Why this route is not walked; empty if it is."""
    if route in LEFT_OUT:
        return LEFT_OUT[route]
    if route.startswith("^(?:api/2"):
        return "spoken with a token alone, by MLflow's clients: tests/apps/gateways/mlflow"
    if route.removeprefix("^").startswith("v2/"):
        return "spoken by docker and skopeo: tests/apps/site/mirror"
    if route.startswith("api/v1/agent/"):
        return "spoken with a device's token alone: tests/apps/fleet/devices"
    if route.startswith("api/v1/doctor/"):
        return "spoken with a node's token alone: tests/apps/platform/nodes/health"
    if "(?P<tenant>" in route:
        return "spoken with a token alone, by hawkBit's clients: tests/apps/gateways/hawkbit"
    if route == "git" or route.startswith("git/"):
        return "spoken with a token alone, by git and git-lfs: tests/git, tests/apps/data/repositories"
    return LEFT_OUT["accounts/"] if route.removeprefix("^").startswith("accounts/") else ""


def address(route: str, plane: Seeded) -> str:
    """The route with the plane's own names in place of its parameters."""
    values = {
        "project": "demo",
        "slug": "demo",
        "run": plane.run,
        "pk": plane.view
        if "v1/views/" in route
        else plane.model_version
        if "model-versions/" in route
        else plane.evaluation
        if "/evaluations/" in route
        else plane.variant
        if "variants/" in route
        else plane.label_schema
        if "schema-versions/" in route
        else plane.version
        if "versions/<int" in route
        else plane.approval
        if "approvals/" in route
        else plane.pipeline
        if "pipelines/" in route
        else plane.sweep
        if "sweeps/" in route
        else plane.run_panel
        if "panels/" in route
        else plane.comment
        if "comments/" in route
        else plane.hold
        if "holds/" in route
        else plane.rerun
        if "reruns/" in route
        else plane.notice
        if "notices/" in route
        else plane.probe
        if "probes/" in route
        else plane.snapshot
        if "snapshots/" in route
        else plane.emergency_grant
        if "emergency" in route
        else plane.campaign
        if "recertification" in route
        else plane.evidence_run
        if "compliance/runs/" in route
        else plane.attachment
        if "compliance/documents/" in route
        else plane.webhook
        if "webhooks/" in route
        else plane.release
        if "releases/" in route
        else plane.outgoing_bundle
        if "/bundles/" in route or "transfer/outgoing" in route
        else plane.incoming_bundle
        if "received-bundles/" in route or "transfer/incoming" in route
        else plane.recall
        if "recalls/" in route
        else plane.plane_schedule
        if "schedules/" in route and "<slug:project>" not in route
        else plane.schedule
        if "schedules/" in route
        else plane.rollout
        if "rollouts/" in route
        else plane.monitor
        if "monitors/" in route
        else plane.security_alarm
        if "security-alarms/" in route
        else plane.alarm
        if "alarms/" in route
        else plane.retraining
        if "retrainings/" in route
        else plane.labelling
        if "labelling/" in route
        else plane.site_study
        if re.search("site-studies/|studies/joined/|ledger/", route)
        else plane.study
        if "studies/" in route
        else plane.job,
        "rollout": plane.rollout,
        "row": 1,
        "table": "importance",
        "place": 0,
        "number": 1 if "bundles/" in route else 0,
        "model": MODEL_ID,
        "type": "dataset_version",
        "id": plane.version,
        "subject_type": "promotion",
        "alias": "production",
        "queue": "cpu",
        "digest": plane.digest,
        "version": "1",
        "before": "1",
        "tag": "gold",
        "path": "table.csv",
        "kind": "noop" if "sweeps/" in route else "clean",
        "username": "engineer",
        "topic": "cleaning",
        "rule": "refusals",
        "device": plane.device,
        "assignment": plane.assignment,
        "token": 1,
        "group": "all",
        "object_type": "job",
        "object_id": plane.job,
        "token_id": 1,
        "task": 1,
        "schema_version": 1,
        "hook_key": "0" * 32,
        "clause": "8.1.4.9.b",
        "filename": "pump-1.0-py3-none-any.whl",
        "name": "8.1.4.9.b"
        if "compliance/" in route
        else plane.node
        if "nodes/" in route or "isolation/" in route
        else "pump"
        if "simple/" in route or "packages/" in route
        else plane.evaluation_set
        if "evaluation-sets/" in route
        else "engineer"
        if "members/" in route
        else "served"
        if "endpoints/" in route
        else plane.label_name
        if "labelling/" in route
        else "site1"
        if "studies/" in route
        else plane.model
        if "models/" in route
        else plane.source
        if "observations/" in route
        else plane.dataset,
    }
    of_an_end = ("/lineage", "/lineage.csv", "/affected", "recalls/preview", "recalls/carriers")
    query = f"?type=dataset_version&id={plane.version}" if route.endswith(of_an_end) and "api/" in route else ""
    query = f"?type=dataset_version&id={plane.version}" if route.endswith("recalls/search") else query
    query += "&kind=device" if route.endswith("recalls/carriers") else ""
    query = "?from=s0" if route == "p/<slug:project>/pipelines/<int:pk>/rerun" else query
    query = next((asked for end, asked in RUN_QUERIES.items() if route.endswith(end)), query)
    query = query.format(run=plane.run, other=plane.other_run, set=plane.evaluation_set)
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(values[match[1]]), route) + query


@dataclass
class Visitor:
    """Somebody logged in."""

    name: str
    client: Client

    def get(self, where: str) -> tuple[int, bytes]:
        answer = self.client.get(where)
        if answer.streaming:
            return answer.status_code, b"".join(answer.streaming_content)
        return answer.status_code, answer.content


def visitors() -> list[Visitor]:
    made = []
    for name in PEOPLE:
        client = Client(SERVER_NAME="127.0.0.1", raise_request_exception=True)
        client.force_login(User.objects.get(username=name), backend=BACKEND)
        made.append(Visitor(name, client))
    seal_all()  # logging in is recorded, and what is not sealed costs the frame a query
    return made


def who_may(where: str, people: list[Visitor]) -> tuple[Visitor | None, int]:
    """The first one whom this address answers with a page or a redirect, and the last status."""
    status = 0
    for visitor in people:
        status, _ = visitor.get(where)
        if status in (200, 302):
            return visitor, status
        if status == 405:
            break
    return None, status


# -- rows -----------------------------------------------------------------------------------------------------------
@dataclass
class Seeded:
    """What is in the plane: rows so far, and the ids that addresses name."""

    rows: int
    job: int
    version: int
    digest: str
    approval: int
    model_version: int = 0
    variant: int = 0
    evaluation: int = 0
    evaluation_set: str = "later"
    pipeline: int = 0
    sweep: int = 0
    run_panel: int = 0
    comment: int = 0
    rerun: int = 0
    hold: int = 0
    view: int = 0
    notice: int = 0
    webhook: int = 0
    schedule: int = 0
    plane_schedule: int = 0
    probe: int = 0
    snapshot: int = 0
    emergency_grant: int = 0
    campaign: int = 0
    evidence_run: int = 0
    attachment: int = 0
    security_alarm: int = 0
    run: str = RUN_IDS[0]
    other_run: str = RUN_IDS[1]
    node: str = "node-0"
    dataset: str = "wti"
    model: str = "wti"
    source: str = "live"
    device: int = 0
    assignment: int = 0
    release: int = 0
    recall: int = 0
    outgoing_bundle: int = 0
    incoming_bundle: int = 0
    rollout: int = 0
    monitor: int = 0
    retraining: int = 0
    alarm: int = 0
    labelling: int = 0
    label_schema: int = 0  # of its first version
    study: int = 0
    site_study: int = 0
    label_name: str = "labels1"  # of a connection and a schema


def people_and_project() -> Project:
    project = Project.objects.create(slug="demo", name="Demo")
    for name, role in PEOPLE.items():
        user = User(username=name, system_role=role, must_change_password=False, password="!")
        user.save()
        if not role:
            for held in ("engineer", "approver"):
                Membership.objects.create(project=project, user=user, role=held)
    return project


def first_rows() -> Seeded:
    """A plane with one of everything."""
    project = people_and_project()
    with get_store().open_staging() as staging:
        staging.write(TABLE)
        digest, size = staging.publish()
    artifact = Artifact.objects.create(digest=digest, size=size)
    Holding.objects.create(project=project, artifact=artifact, name="table.csv", media_type="text/csv", created_by="x")
    dataset = Dataset.objects.create(project=project, name="wti", created_by="engineer", versions_count=1)
    version = version_of(dataset, 1)
    version.quality = report_of(project)
    version.save()
    DatasetFile.objects.create(version=version, path="table.csv", artifact=artifact, media_type="text/csv")
    first_node = Node.objects.create(name="node-0", **NODE)
    isolation_of(first_node, [1])
    NodeEnvironment.objects.create(node=first_node, digest="d" * 64, document={"packages": {"torch": "2.13"}})
    job = job_of(project, JobState.SUCCEEDED, 0)
    job.save()
    JobOutput.objects.create(job=job, slot="table", artifact=artifact, name="t.csv", media_type="text/csv")
    approval = approval_of(project, "pending", 0)
    approval.save()
    plane = Seeded(rows=0, job=job.pk, version=version.pk, digest=digest, approval=approval.pk)
    first_model(plane, project, artifact, approval)
    observations_of(plane, project, [0])
    plane.pipeline = pipeline_of(project).pk
    plane.sweep = sweep_of(project).pk
    endpoint_of(plane, project, "served")
    devices_of(plane, project, [0])
    packages_of(plane, [0])
    recalls_of(plane, project, [0])
    bundles_of(plane, project, [0])
    kept = {"project": project, "listing": "jobs", "name": "Broken", "query": "state=failed"}
    plane.view = SavedView.objects.create(user=User.objects.get(username="engineer"), **kept).pk
    step = job_of(project, JobState.SUCCEEDED, 0)
    step.save()
    PipelineStep.objects.create(pipeline_id=plane.pipeline, name="s0", position=0, job=step)
    return plane


def report_of(project: Project) -> Artifact:
    shown = {"columns": ["day", "close"], "rows": [["2026-01-02", "57.3"]]}
    column = {"name": "close", "dtype": "double", "missing": 1}
    document = {"schema": "plane/quality-report/v1", "rows": 2, "columns": [column], "preview": shown}
    with get_store().open_staging() as staging:
        staging.write(json.dumps(document).encode())
        digest, size = staging.publish()
    return Artifact.objects.create(digest=digest, size=size)


NODE = {"host": "h", "queues": ["cpu"], "cpus": 4, "memory_bytes": 2**33}


def version_of(dataset: Dataset, number: int) -> DatasetVersion:
    facts = {"manifest": "{}", "media_type": "text/csv", "rows": 2, "size": 40, "created_by": "engineer"}
    facts["columns"] = [{"name": "day", "dtype": "date"}, {"name": "close", "dtype": "double"}]
    return DatasetVersion(dataset=dataset, number=number, digest=sha256_hex(f"{dataset.pk} {number}"), **facts)


def job_of(project: Project, state: str, number: int, node: Node | None = None) -> Job:
    now = timezone.now()
    return Job(
        project=project,
        kind="clean",
        name=f"job {number}",
        spec="{}",
        spec_digest="0" * 64,
        state=state,
        queue="cpu",
        time_limit_seconds=60,
        grant={},
        requester="engineer",
        queued_at=now,
        node=None if state in (JobState.QUEUED, JobState.WAITING) else node,
        lease_until=now + timedelta(hours=1) if state == JobState.RUNNING else None,
        ended_at=now if state in ("succeeded", "failed", "cancelled") else None,
        error={"code": "x", "message": "It broke."} if state == JobState.FAILED else None,
    )


def approval_of(project: Project, state: str, number: int) -> Approval:
    return Approval(
        project=project,
        subject_type="walk",
        subject_id=str(number),
        title=f"promote {number}",
        facts="{}",
        facts_digest=sha256_hex("{}"),
        requester="somebody",
        needed=1,
        eligible=1,
        state=state,
        deadline_at=timezone.now() + timedelta(days=1),
        decided_at=None if state == "pending" else timezone.now(),
    )


@transaction.atomic
def grow(plane: Seeded, rows: int, *, wide: int) -> None:
    """Bring every table that a plane fills by itself to `rows`, and what people make by hand to `wide`."""
    numbers = range(plane.rows + 1, rows + 1)
    project, dataset = Project.objects.get(slug="demo"), Dataset.objects.get(name="wti")
    version, main = DatasetVersion.objects.get(pk=plane.version), Job.objects.get(pk=plane.job)
    node = Node.objects.get(name="node-0")
    jobs = Job.objects.bulk_create([job_of(project, STATES[n % len(STATES)], n, node) for n in numbers])
    payload = {"first": 1, "lines": [["2026-01-02T03:04:05.000+00:00", "info", "a line"]]}
    JobEvent.objects.bulk_create(
        JobEvent(job=main, seq=n, attempt=1, kind="log", payload={**payload, "first": n}) for n in numbers
    )
    Job.objects.filter(pk=main.pk).update(event_seq=rows, log_lines=rows)
    Dataset.objects.bulk_create(Dataset(project=project, name=f"d{n}", created_by="engineer") for n in numbers)
    DatasetVersion.objects.bulk_create(version_of(dataset, n + 1) for n in numbers)
    Dataset.objects.filter(pk=dataset.pk).update(versions_count=rows + 1)
    artifacts = Artifact.objects.bulk_create([Artifact(digest=sha256_hex(f"a{n}"), size=5) for n in numbers])
    Holding.objects.bulk_create(Holding(project=project, artifact=one, created_by="engineer") for one in artifacts)
    states = [*ApprovalState.values, ApprovalState.PENDING]
    Approval.objects.bulk_create([approval_of(project, states[n % len(states)], n) for n in numbers])
    edges_of(project, version, jobs)
    pipelines_of(plane, project, jobs, artifacts)
    runs_of(project, main, numbers, artifacts)
    plane.run_panel = RunPanel.objects.create(project=project, metrics=["loss"], created_by="engineer").pk
    comments_of(plane, project, numbers)
    reruns_of(plane, jobs)
    sweeps_of(plane, project, jobs)
    holds_of(plane, project, numbers)
    observations_of(plane, project, numbers)
    monitors_of(plane, project, numbers)
    labellings_of(plane, project, version, numbers)
    studies_of(plane, project, version, numbers)
    notices_of(plane, project, numbers)
    schedules_of(plane, project, numbers)
    devices_of(plane, project, numbers)
    packages_of(plane, numbers)
    recalls_of(plane, project, numbers)
    bundles_of(plane, project, numbers)
    models_of(project, ModelVersion.objects.get(pk=plane.model_version), numbers)
    widen(plane, project, main, version, artifacts, wide)
    actor = build_plane_actor(PlaneRole.WORKER, host="node-0")
    for number in numbers:
        record(actor=actor, action="job.running", obj=main, after={"attempt": number})
    plane.rows = rows
    seal_all()


def first_model(plane: Seeded, project: Project, artifact: Artifact, approval: Approval) -> None:
    """A model whose first version, of one variant, is in production."""
    figures = {"rows": 2, "metrics": [{"name": "rmse", "value": 1.0, "better": "lower"}]}
    told = {"name": "fp32", "parent": None, "format": "safetensors", "size": 5, "machine": {}, "figures": figures}
    signature = {"inputs": [], "outputs": []}
    facts = {"task": "forecast", "target": "close", "features": [], "classes": [], "signature": signature, "note": ""}
    more = {"architecture": {}, "inputs": {}, "spec": {}, "variants": [told]}
    model = Model.objects.create(project=project, name="wti", created_by="engineer", versions_count=1)
    version = model_version_of(model, 1)
    version.document = json.dumps(facts | more)
    version.save()
    files = {"file": "model.safetensors", "artifact": artifact, "manifest": artifact}
    variant = Variant.objects.create(
        version=version, name="fp32", format="safetensors", size=5, figures=figures, **files
    )
    Alias.objects.create(model=model, name="production", version=version)
    move = {"kind": "promote", "to_version": version, "approval": approval, "by": "engineer"}
    AliasMove.objects.create(model=model, alias="production", **move)
    plane.model_version, plane.variant = version.pk, variant.pk
    table = DatasetVersion.objects.get(pk=plane.version)
    facts = {"task": "forecast", "target": "close", "primary_metric": "rmse", "spec": {}, "created_by": "engineer"}
    later = {"project": project, "dataset_version": table, "table": artifact, **facts}
    on = EvaluationSet.objects.create(name="later", number=1, **later)
    plane.evaluation = evaluation_of(on, variant, 0).pk


def evaluation_of(on: EvaluationSet, variant: Variant, job: int) -> Evaluation:
    """An evaluation of the variant, as a job of this number measured it."""
    metric = {"name": "rmse", "value": 1.0, "low": 0.9, "high": 1.1, "confidence": 0.95, "better": "lower"}
    pace = {"batch": 1, "threads": 1, "runs": 20, "p50_us": 1.0, "p95_us": 2.0, "rows_per_second": 1e6}
    told = {"rows": 2, "metrics": [metric], "slices": [], "calibration": [], "latency": [pace], "notes": []}
    told |= {"size_bytes": 5, "memory": {"model_bytes": 1, "peak_bytes": 2}, "queries": None, "positive": None}
    files = {"artifact": on.table, "replicates": on.table, "pairing": "p" * 64, "rows": 2, "metrics": [metric]}
    facts = {**files, "document": json.dumps(told), "created_by": "engineer"}
    return Evaluation.objects.create(set=on, version=variant.version, variant=variant, job_id=job, **facts)


def model_version_of(model: Model, number: int) -> ModelVersion:
    facts = {"task": "forecast", "target": "close"}
    document = json.dumps(facts | {"signature": {}, "note": "", "variants": []})
    digest = sha256_hex(f"{model.pk} m {number}")
    return ModelVersion(model=model, number=number, digest=digest, document=document, created_by="engineer", **facts)


def models_of(project: Project, version: ModelVersion, numbers: range) -> None:
    """Models, and of the first one versions, aliases and moves."""
    Model.objects.bulk_create(Model(project=project, name=f"m{n}", created_by="engineer") for n in numbers)
    ModelVersion.objects.bulk_create(model_version_of(version.model, n + 1) for n in numbers)
    Alias.objects.bulk_create(Alias(model=version.model, name=f"a{n}", version=version) for n in numbers)
    move = {"kind": "set", "from_version": version, "to_version": version, "by": "engineer"}
    AliasMove.objects.bulk_create(AliasMove(model=version.model, alias=f"a{n}", **move) for n in numbers)
    later = EvaluationSet.objects.get(project=project, name="later")
    told = {"project": project, "dataset_version": later.dataset_version, "table": later.table, "task": "forecast"}
    told |= {"target": "close", "primary_metric": "rmse", "created_by": "engineer", "number": 1}
    EvaluationSet.objects.bulk_create(EvaluationSet(name=f"s{n}", **told) for n in numbers)
    for n in numbers:
        evaluation_of(later, version.variants.get(), n + 1)


def runs_of(project: Project, main: Job, numbers: range, artifacts: list[Artifact]) -> None:
    """Runs with a metric and a param each; the first, of the one job, with as many of everything."""
    experiment = Experiment.objects.get_or_create(project=project, number=0, name="Default")[0]
    Experiment.objects.bulk_create(Experiment(project=project, number=n, name=f"e{n}") for n in numbers)
    facts = {"project": project, "experiment": experiment, "kind": "train", "state": "finished"}
    first = Run.objects.get_or_create(id=RUN_IDS[0], defaults={**facts, "name": "main", "job": main})[0]
    runs = Run.objects.bulk_create(Run(id=f"{n + 1:032x}", name=f"run {n}", **facts) for n in numbers)
    RunParam.objects.bulk_create(RunParam(run=run, key="seed", value=run.name) for run in runs)
    few = numbers[: max(0, KEYS - first.params.count())]
    RunParam.objects.bulk_create(RunParam(run=first, key=f"p{n}", value="1") for n in few)
    now = timezone.now()
    values = {"project": project, "value": 1.0, "step": 0, "first_step": 0, "at": now, "count": 2, "digest": "0" * 64}
    values |= {"experiment": experiment, "started_at": now}
    keys = [(run, "loss") for run in runs] + [(first, f"k{n}") for n in few]
    keys += [] if first.metrics.exists() else [(first, "loss")]
    made = Metric.objects.bulk_create(Metric(run=run, key=key, **values) for run, key in keys)
    MetricPoint.objects.bulk_create(
        MetricPoint(metric=metric, step=s, value=1.0, at=now) for metric in made for s in (0, 1)
    )
    RunArtifact.objects.bulk_create(
        RunArtifact(run=first, path=f"a{n}", artifact=artifact, size=5, media_type="text/plain")
        for n, artifact in zip(numbers, artifacts, strict=True)
    )
    if not first.artifacts.filter(path="samples/samples.json").exists():
        diagnostics_of(first)
    RunTag.objects.bulk_create(RunTag(run=first, key=f"t{n}", value="1") for n in few)
    logged_model_of(first, few, artifacts)


def diagnostics_of(run: Run) -> None:
    """What a training job writes of its model, and one picture."""
    image = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    samples = {"kind": "image", "samples": [{"image": image, "target": "a", "prediction": "b"}]}
    importance = {"metric": "rmse", "value": 1.0, "rows": 2, "repeats": 5, "features": []}
    diagnostics = {"task": "regression", "target": "y", "rows": 2, "importance": importance}
    for name, document in (("diagnostics", diagnostics), ("samples", samples)):
        with get_store().open_staging() as staging:
            staging.write(json.dumps({"schema": f"plane/{name}/v1", **document}).encode())
            digest, size = staging.publish()
        artifact = Artifact.objects.create(digest=digest, size=size)
        Holding.objects.create(project=run.project, artifact=artifact, name=name, media_type="x/y", created_by="x")
        facts = {"artifact": artifact, "size": size, "media_type": "x/y"}
        RunArtifact.objects.create(run=run, path=f"{name}/{name}.json", **facts)


def logged_model_of(run: Run, numbers: range, artifacts: list[Artifact]) -> None:
    """One, with as many params, tags, metrics and files."""
    facts = {"project": run.project, "experiment": run.experiment, "name": "main", "source_run": run}
    model = LoggedModel.objects.get_or_create(id=MODEL_ID, defaults=facts)[0]
    LoggedModelParam.objects.bulk_create(LoggedModelParam(model=model, key=f"p{n}", value="1") for n in numbers)
    LoggedModelTag.objects.bulk_create(LoggedModelTag(model=model, key=f"t{n}", value="1") for n in numbers)
    LoggedModelMetric.objects.bulk_create(
        LoggedModelMetric(model=model, run=run, key=f"k{n}", value=1.0, step=0, at=timezone.now()) for n in numbers
    )
    LoggedModelArtifact.objects.bulk_create(
        LoggedModelArtifact(model=model, path=f"a{n}", artifact=artifact, size=5, media_type="text/plain")
        for n, artifact in zip(numbers, artifacts, strict=False)
    )


def comments_of(plane: Seeded, project: Project, numbers: range) -> None:
    """Comments on the first run, version and approval, each with a mention."""
    user = User.objects.get(username="engineer")
    facts = {
        "project": project,
        "author": user,
        "author_label": "engineer",
        "text": "@engineer",
        "mentions": {user.pk: "engineer"},
    }
    objects = (
        ("run", plane.run),
        ("datasetversion", plane.version),
        ("modelversion", plane.model_version),
        ("approval", plane.approval),
    )
    comments = Comment.objects.bulk_create(
        Comment(object_type=kind, object_id=str(pk), **facts) for kind, pk in objects for _ in numbers
    )
    plane.comment = comments[0].pk


def holds_of(plane: Seeded, project: Project, numbers: range) -> None:
    """One for each of as many artifacts; what they hold is told by its id alone."""
    facts = {"project": project, "object_type": "artifact", "reason": "an inquiry", "placed_by": "auditor"}
    made = Hold.objects.bulk_create(Hold(object_id=sha256_hex(f"a{n}"), **facts) for n in numbers)
    plane.hold = plane.hold or made[0].pk


def notices_of(plane: Seeded, project: Project, numbers: range) -> None:
    """Notices of the engineer, webhooks, and as many deliveries of the first one."""
    told = {"kind": "job.failed", "subject_type": "job", "subject_id": "1", "path": "/p/demo/jobs/1"}
    message = {"message": "Job 1 failed.", "msgid": "Job 1 failed.", "params": {}}
    facts = {"recipient": User.objects.get(username="engineer"), "project": project, "in_bell": True}
    made = Notice.objects.bulk_create(Notice(message=message, **told, **facts) for _ in numbers)
    place = {"project": project, "url": "http://hooks/", "secret": encrypt_secret("x"), "created_by": "secadmin"}
    webhooks = Webhook.objects.bulk_create(Webhook(name=f"hook{n}", **place) for n in numbers)
    plane.notice, plane.webhook = plane.notice or made[0].pk, plane.webhook or webhooks[0].pk
    sent = {"channel": "webhook", "kind": "job.failed", "project": project, "webhook_id": plane.webhook, "body": "{}"}
    Delivery.objects.bulk_create(Delivery(event_id=f"msg_{n}", **sent) for n in numbers)


def schedules_of(plane: Seeded, project: Project, numbers: range) -> None:
    """Schedules of the project and of the plane, and as many times of the first of each."""
    facts = {"project": project, "target": "job", "request": {"kind": "noop", "spec": {}}, "timezone": "UTC"}
    facts |= {"cron": "0 0 * * *", "grant": {}, "created_by": "engineer", "next_at": timezone.now()}
    made = Schedule.objects.bulk_create(Schedule(name=f"nightly{n}", **facts) for n in numbers)
    plane.schedule = plane.schedule or made[0].pk
    of_plane = Schedule.objects.bulk_create(
        Schedule(name=f"probe{n}", **{**facts, "project": None, "target": "probe"}) for n in numbers
    )
    plane.plane_schedule = plane.plane_schedule or of_plane[0].pk
    for schedule in (plane.schedule, plane.plane_schedule):
        times = (timezone.now() - timedelta(days=n + 1) for n in numbers)
        submitted = {"schedule_id": schedule, "outcome": "submitted", "subject_id": plane.job}
        Occurrence.objects.bulk_create(Occurrence(due_at=at, **submitted) for at in times)


def reruns_of(plane: Seeded, jobs: list[Job]) -> None:
    """Reruns of the first run, one for each of these jobs; the first has a verdict of as many metrics and outputs."""
    first, other = Run.objects.get(pk=RUN_IDS[0]), Run.objects.get(pk=RUN_IDS[1])
    facts = {"project_id": first.project_id, "original": first, "relative": 0.1, "absolute": 0.0, "requester": "x"}
    made = Rerun.objects.bulk_create(Rerun(job=job, **facts) for job in jobs)
    plane.rerun = plane.rerun or made[0].pk
    document = build_verdict(first, other, Tolerance(), Budget())
    Rerun.objects.filter(pk=plane.rerun).update(state="judged", verdict=document["verdict"], document=document)


def sweeps_of(plane: Seeded, project: Project, jobs: list[Job]) -> None:
    """Trials of the first sweep, and a sweep without any for each of these jobs."""
    first = SweepTrial.objects.filter(sweep=plane.sweep).count()
    facts = {"sweep_id": plane.sweep, "values": [0.5], "state": "succeeded", "objective": 0.5, "step": 1}
    trials = enumerate(jobs[: max(0, TRIALS - first)], first)
    SweepTrial.objects.bulk_create(SweepTrial(number=number, job=job, **facts) for number, job in trials)
    for job in jobs:
        sweep_of(project)
        endpoint_of(plane, project, f"served-{job.pk}")


def emergency_grants_of(plane: Seeded, numbers: range) -> None:
    """Grants that have ended: one in force would lend its rights to a visitor of the walk."""
    facts = {"user": User.objects.get(username="engineer"), "role": "system_admin", "reason": "a fault", "hours": 1}
    grants = EmergencyGrant.objects.bulk_create(EmergencyGrant(state="ended", **facts) for _ in numbers)
    plane.emergency_grant = plane.emergency_grant or grants[0].pk


def recertifications_of(plane: Seeded, project: Project, numbers: range) -> None:
    """Campaigns that are closed, and in the first one as many grants of the project."""
    now = timezone.now()
    facts = {"name": "yearly", "started_by": "secadmin", "due_at": now, "closed_at": now}
    campaigns = Campaign.objects.bulk_create(Campaign(closed_by="secadmin", **facts) for _ in numbers)
    plane.campaign = plane.campaign or campaigns[0].pk
    GrantReview.objects.bulk_create(
        GrantReview(
            campaign_id=plane.campaign, kind="token", object_id=n, holder=f"p{n}", project=project, description="read"
        )
        for n in numbers
    )


def snapshots_of(plane: Seeded, numbers: range) -> None:
    """Snapshots, each with a drill, and of the first one as many operations."""
    facts = {"destination": "main", "name": "a" * 32, "requested_by": "sysadmin", "made_at": timezone.now()}
    snapshots = Snapshot.objects.bulk_create(Snapshot(state="stored", **facts) for _ in numbers)
    plane.snapshot = plane.snapshot or snapshots[0].pk
    drill = {"destination": "main", "kind": "drill", "state": "succeeded", "requested_by": "sysadmin"}
    drill |= {"result": {"rto_seconds": 3.5, "rpo_seconds": 60.0, "sealed": 9, "artifacts": 1, "job": "succeeded"}}
    drill["ended_at"] = timezone.now()
    SnapshotOperation.objects.bulk_create(SnapshotOperation(snapshot=each, **drill) for each in snapshots)
    SnapshotOperation.objects.bulk_create(SnapshotOperation(snapshot_id=plane.snapshot, **drill) for _ in numbers)


def evidence_of(plane: Seeded, numbers: range) -> None:
    """Evidence runs with the verdict of each clause, and documents of one clause."""
    now, artifact = timezone.now(), Artifact.objects.get(pk=plane.digest)
    facts = {"state": "succeeded", "requested_by": "auditor", "ended_at": now, "folder": artifact, "met": len(CLAUSES)}
    runs = EvidenceRun.objects.bulk_create(EvidenceRun(**facts) for _ in numbers)
    plane.evidence_run = plane.evidence_run or runs[0].pk
    ClauseResult.objects.bulk_create(
        ClauseResult(run=run, clause=clause.id, verdict="met", since=now) for run in runs for clause in CLAUSES
    )
    dates = {"dated_on": now.date(), "expires_on": now.date() + timedelta(days=300), "file_name": "plan.pdf"}
    documents = Attachment.objects.bulk_create(
        Attachment(
            clause="8.1.4.9.b", title="Plan", owner="sysadmin", artifact=artifact, attached_by="auditor", **dates
        )
        for _ in numbers
    )
    plane.attachment = plane.attachment or documents[0].pk
    seen = {"count": 20, "first_seq": 1, "last_seq": 20, "first_at": now, "last_at": now}
    raised = SecurityAlarm.objects.bulk_create(
        SecurityAlarm(rule="refusals", key=f"eve{number}", **seen) for number in numbers
    )
    plane.security_alarm = plane.security_alarm or raised[0].pk
    mark = {"category": "phone", "purpose": "A test", "legal_basis": "consent", "retain_until": now.date()}
    mark |= {
        "dataset_id": DatasetVersion.objects.get(pk=plane.version).dataset_id,
        "marked_by": "engineer",
        "marked_at": now,
    }
    PersonalColumn.objects.bulk_create(PersonalColumn(column=f"phone{number}", **mark) for number in numbers)


def isolation_of(node: Node, numbers: list[int]) -> None:
    """A version of the network policy and a report of the node for each number."""
    document = {"networks": ["10.0.0.0/24"], "names": [], "ports": [], "forwarded": False}
    shared = {"document": document, "digest": "a" * 64, "reason": "a start", "created_by": "sysadmin"}
    PolicyVersion.objects.bulk_create(PolicyVersion(number=number, **shared) for number in numbers)
    result = {"kind": "tcp", "target": "192.0.2.1", "protocol": "tcp", "port": 443, "refused_by": "rule", "rule": "tcp"}
    result |= {"verdict": "refused", "error": "EPERM", "packets_left": 0, "seconds": 1.0, "at": "2026-11-29T12:00:00Z"}
    ProbeReport.objects.bulk_create(ProbeReport(node=node, verdict="refused", results=[result]) for _ in numbers)


def endpoint_of(plane: Seeded, project: Project, name: str) -> Endpoint:
    """An endpoint of the first model, with a replica on the first node."""
    version = ModelVersion.objects.get(pk=plane.model_version)
    facts = {"model": version.model, "alias": "production", "variant": "fp32", "version": version, "state": "serving"}
    endpoint = Endpoint.objects.create(project=project, name=name, created_by="engineer", **facts)
    node = Node.objects.get(name="node-0")
    seen = {"state": "serving", "version": version, "last_seen": timezone.now(), "figures": {"rate": 1.5}}
    Replica.objects.create(endpoint=endpoint, node=node, slot=0, port=10_000 + endpoint.pk, **seen)
    return endpoint


def sweep_of(project: Project) -> Sweep:
    settings = {"space": [{"type": "float", "name": "/value", "low": 0, "high": 1}], "metric": "value"}
    job = {"kind": "noop", "spec": {}, "inputs": [], "needs": None}
    experiment = Experiment.objects.get_or_create(project=project, number=0, defaults={"name": "Default"})[0]
    run = Run.objects.create(project=project, experiment=experiment, name="sweep", kind="sweep")
    facts = {"document": json.dumps({"settings": settings, "job": job}), "document_digest": "d" * 64, "grant": {}}
    return Sweep.objects.create(project=project, name="tuned", kind="noop", run=run, requester="engineer", **facts)


def pipeline_of(project: Project, **more) -> Pipeline:
    document = {"name": "", "steps": [{"name": "s0", "kind": "noop"}]}
    facts = {"document": json.dumps(document), "document_digest": "0" * 64, "requester": "engineer"}
    return Pipeline.objects.create(project=project, **facts, **more)


def pipelines_of(plane: Seeded, project: Project, jobs: list[Job], artifacts: list[Artifact]) -> None:
    """A pipeline of each of these jobs; the first one gets a step that takes from it, and a re-run."""
    steps = PipelineStep.objects.filter(pipeline=plane.pipeline).count()
    for job, artifact in zip(jobs, artifacts, strict=True):
        again = pipeline_of(project, rerun_of_id=plane.pipeline, rerun_from="s0")
        PipelineStep.objects.create(pipeline=again, name="s0", position=0, job=job)
        if steps >= STEPS_LIMIT:
            continue
        steps += 1
        made = job_of(project, JobState.SUCCEEDED, job.pk)
        made.save()
        PipelineStep.objects.create(pipeline_id=plane.pipeline, name=f"s{job.pk}", position=job.pk, job=made)
        JobParent.objects.create(parent=job, child=made)
        JobInput.objects.create(job=made, slot="table", artifact=artifact)
        JobOutput.objects.create(job=made, slot="table", artifact=artifact, name="o", media_type="text/plain")


def edges_of(project: Project, version: DatasetVersion, jobs: list[Job]) -> None:
    """Every job has read the one version."""
    end = {"source_type": "dataset_version", "source_id": str(version.pk), "role": "table", "target_type": "job"}
    Edge.objects.bulk_create(Edge(project=project, target_id=str(job.pk), **end) for job in jobs)


def observations_of(plane: Seeded, project: Project, numbers) -> None:
    """Sources, and hours of the first one."""
    first = ObservationSource.objects.filter(name=plane.source).first()
    names = [f"source{number}" if first else plane.source for number in numbers]
    made = ObservationSource.objects.bulk_create(
        ObservationSource(project=project, name=name, task="classification", created_by="engineer") for name in names
    )
    first = first or made[0]
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = HourFigures.objects.bulk_create(
        HourFigures(
            source=first,
            version_id=plane.model_version,
            variant="fp32",
            is_shadow=False,
            hour=now - timedelta(hours=number),
            predictions=10,
            labelled=5,
            scored=5,
            correct=4,
        )
        for number in numbers
    )
    ClassCount.objects.bulk_create(ClassCount(figures=hour, name="up", predicted=10) for hour in hours)


def devices_of(plane: Seeded, project: Project, numbers) -> None:
    """Devices with a label each that run a release, their assignments, groups and enrolment tokens; of the first
    assignment as many reports."""
    variant = Variant.objects.get(pk=plane.variant)
    signer = {"public_key": "k", "location": "file", "state": "active", "created_by": "x"}
    key = ReleaseKey.objects.get_or_create(key_id="0" * 16, defaults=signer)[0]
    facts = {"model": variant.version.model, "model_name": "wti", "variant": variant, "format": "onnx", "key": key}
    facts |= {"architecture": "any", "envelope": "{}", "approval_id": plane.approval, "created_by": "engineer"}
    facts |= {"provenance": "{}"}
    now, soon = timezone.now(), timezone.now() + timedelta(days=3)
    for number in numbers:
        name = f"device{number}" if plane.device else "all"
        digest = sha256_hex(name)
        release = Release.objects.create(
            project=project, sequence=Release.objects.count() + 1, payload_digest=digest, **facts
        )
        device = Device.objects.create(project=project, name=name, token_digest=digest, running=release)
        DeviceTelemetry.objects.create(device=device, project=project, last_seen=now)
        DeviceLabel.objects.create(device=device, project=project, kind="tag", key="site", value=name)
        DeviceGroup.objects.create(project=project, name=name, query="", created_by="engineer")
        shown = {"prefix": "dse_", "created_by": "engineer", "expires_at": soon}
        EnrolmentToken.objects.create(project=project, name=name, digest=digest, **shown)
        made = Assignment.objects.create(
            project=project, device=device, release=release, state="assigned", limit_seconds=60, deadline=soon
        )
        plane.device, plane.assignment = plane.device or device.pk, plane.assignment or made.pk
        if not plane.release:
            plane.release = release.pk
            attached = {"name": "a.swu", "attached_by": "approver"}
            UpdateFile.objects.create(release=release, artifact=variant.artifact, **attached)
            week = {"days": ["mon"], "start": 1320, "minutes": 60, "time_zone": "UTC", "set_by": "engineer"}
            MaintenanceWindow.objects.create(project=project, **week)
        rollout_of(plane, project, variant, device)
        report = {"by_device": True, "step": "downloading", "at": now}
        AssignmentEvent.objects.create(assignment_id=plane.assignment, **report)


def packages_of(plane: Seeded, numbers) -> None:
    """Packages of one file that need the first one, which gets as many versions."""
    now = timezone.now()
    made = {"changed_at": now, "created_by": "operator", "version_count": 1, "latest_version": "1.0"}
    for number in numbers:
        name = f"pump{number}" if number else "pump"
        package = Package.objects.create(name=name, display_name=name, skeleton=name, **made)
        first = Package.objects.get(name="pump")
        versions = [(package, "1.0"), (first, f"2.{number}")]
        for each, text in versions if first.versions.count() < PACKAGE_VERSIONS else versions[:1]:
            version = PackageVersion.objects.create(package=each, version=text, advisory_ids=["PYSEC-1"])
            PackageDependency.objects.create(version=version, name="pump")
            file = {"filename": f"{each.name}-{text}-py3-none-any.whl", "filetype": "bdist_wheel", "uploaded_at": now}
            PackageFile.objects.create(version=version, artifact_id=plane.digest, uploaded_by="operator", **file)
        digest = sha256_hex(name) if number else plane.digest
        image = ContainerImage.objects.create(
            manifest_digest=digest, manifest=b"{}", config_id=plane.digest, architecture="amd64", size=1
        )
        ImageLayer.objects.create(image=image, position=0, artifact_id=plane.digest)
        ImageTag.objects.create(repository=name, tag="v1", image=image, tagged_by="operator", tagged_at=now)


def bundles_of(plane: Seeded, project: Project, numbers) -> None:
    """Bundles in both directions, each with one volume, and signers."""
    for n in numbers:
        ids = [sha256_hex(f"{kind} {n}")[:32] for kind in ("bundle", "peer")]
        peer, refs = PlaneRef(ids[1], "peer"), [ObjectRef("0" * 64, 1)] * 2
        head = BundleHead(
            ids[0], peer, peer, n + 1, "2026-11-30T09:00:00Z", "0" * 64, (Content("run", "r", "1" * 64),), *refs
        )
        text = BundleManifest.build(head, 1, [VolumeRef(1, 4096, "0" * 64)]).text.decode()
        facts = {"project": project, "bundle_id": ids[0], "sequence": n + 1, "manifest": text}
        facts["manifest_digest"] = sha256_hex(text)
        sent = OutgoingBundle.objects.create(
            target_id=peer.id,
            target_name=peer.name,
            contents=["run/r"],
            volume_bytes=1 << 20,
            state="built",
            created_by="engineer",
            **facts,
        )
        folder = get_outgoing_folder(sent)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "volume-0001.tar").write_bytes(b"volume")
        came = IncomingBundle.objects.create(
            source_id=peer.id, source_name=peer.name, envelope="{}", received_by="engineer", **facts
        )
        plane.outgoing_bundle, plane.incoming_bundle = (
            plane.outgoing_bundle or sent.pk,
            plane.incoming_bundle or came.pk,
        )
        BundleSigner.objects.create(
            project=project,
            source_id=peer.id,
            source_name=peer.name,
            person="Ada",
            fingerprint=sha256_hex(ids[1]),
            proposed_by="engineer",
        )


def recalls_of(plane: Seeded, project: Project, numbers) -> None:
    """Recalls, and of the first one as many devices and items."""
    facts = {"project": project, "subject_type": "dataset_version", "subject_label": "wti v1", "reason": "wrong units"}
    made = [Recall(subject_id=str(n), state="completed", started_by="engineer", **facts) for n in numbers]
    Recall.objects.bulk_create(made)
    plane.recall = plane.recall or made[0].pk
    devices = Device.objects.exclude(pk__in=RecallDevice.objects.values("device"))
    RecallDevice.objects.bulk_create(RecallDevice(recall_id=plane.recall, device=device) for device in devices)
    items = ((release.pk, str(release)) for release in Release.objects.order_by("pk"))
    RecallItem.objects.bulk_create(
        (RecallItem(recall_id=plane.recall, kind="release", object_id=pk, label=label) for pk, label in items),
        ignore_conflicts=True,
    )


def monitors_of(plane: Seeded, project: Project, numbers: range) -> None:
    """Monitors, and of the first one as many windows and alarms, whose evidence has as many parts."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    version = ModelVersion.objects.get(pk=plane.model_version)
    facts = {"project": project, "model_id": version.model_id, "metric": "accuracy", "created_by": "engineer"}
    facts |= {"grant": {}, "watched_from": now, "evaluated_until": now}
    made = Monitor.objects.bulk_create(Monitor(name=f"watch{n}", **facts) for n in numbers)
    plane.monitor = plane.monitor or made[0].pk
    seen = {"monitor_id": plane.monitor, "verdict": "worse", "predictions": 9, "count": 9, "version": version}
    seen |= {"value": 0.5, "low": 0.4, "high": 0.6, "reference": 0.9, "line": 0.855}
    Window.objects.bulk_create(Window(until=now - timedelta(hours=n), **seen) for n in numbers)
    part = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9, "labelled": 9, "predictions": 9}
    evidence = {"metric": "accuracy", "rule": {"kind": "relative", "limit": 0.05, "certainty": "value"}}
    evidence |= {"window": {"since": now.isoformat(), "until": now.isoformat()}, "since": now.isoformat()}
    evidence |= {"reference": 0.9, "line": 0.855, "whole": part}
    evidence["by_version"] = [{"version": n + 1, "recorded": 0.9, **part} for n in numbers[:PARTS]]
    evidence["by_source"] = [
        {"source": plane.source, "device": None, "device_name": "", **part} for _ in numbers[:PARTS]
    ]
    facts = {"project": project, "monitor_id": plane.monitor, "cause": "drop", "state": "closed", "since": now}
    facts |= {"evidence": evidence, "last_bad_at": now, "opened_at": now}
    alarms = Alarm.objects.bulk_create(Alarm(**facts) for _ in numbers)
    plane.alarm = plane.alarm or alarms[0].pk
    facts = {"project": project, "monitor_id": plane.monitor, "model_id": version.model_id, "state": "failed"}
    facts |= {"former": version, "settings": {"min_rows": 100}, "grant": {}, "since": now, "deadline_at": now}
    facts |= {"version": version, "created_at": now}
    made = Retraining.objects.bulk_create(Retraining(alarm=alarm, **facts) for alarm in alarms)
    plane.retraining = plane.retraining or made[0].pk


def labellings_of(plane: Seeded, project: Project, version: DatasetVersion, numbers: range) -> None:
    """Connections, schemas and labelling projects, and of the first one as many tasks and annotations."""
    now = timezone.now()
    person = {"project": project, "created_by": "engineer"}
    facts = {**person, "url": "http://127.0.0.1:1", "token": "", "hook_secret": "", "next_check_at": now}
    few = numbers[: max(0, MAX_SERVERS - LabelServer.objects.filter(project=project).count())]
    LabelServer.objects.bulk_create(LabelServer(name=f"labels{n}", **facts) for n in few)
    server = LabelServer.objects.filter(project=project).first()
    schemas = LabelSchema.objects.bulk_create(
        LabelSchema(name=f"labels{n}", versions_count=1, **person) for n in numbers
    )
    document = {"level": "basic", "data": "text", "labels": [{"value": "PERSON", "background": "#FFA500"}]}
    document |= {"classes": [], "relations": [], "fields": [], "rules": []}
    facts = {"number": 1, "level": "basic", "document": document, "digest": "0" * 64, "config": "<View/>"}
    of = LabelSchemaVersion.objects.bulk_create(LabelSchemaVersion(schema=row, **facts) for row in schemas)
    facts = {**person, "source": version, "source_file": "table.csv", "state": "labelling", "next_at": now}
    facts |= {"tasks_count": len(numbers), "progress": {"tasks": {"disputed": len(numbers)}, "annotators": []}}
    made = LabellingProject.objects.bulk_create(
        LabellingProject(name=f"people{n}", server=server, schema=row, **facts)
        for n, row in zip(numbers, of, strict=True)
    )
    plane.labelling = plane.labelling or made[0].pk
    plane.label_schema = plane.label_schema or of[0].pk
    first = LabellingProject.objects.get(pk=plane.labelling)
    begin = first.tasks.count()
    group = AnnotatorGroup.objects.get_or_create(labelling=first, number=1, hook_key="0" * 32, name="one")[0]
    by = Annotator.objects.get_or_create(labelling=first, remote_user=1, pseudonym="A1")[0]
    facts = {"labelling": first, "data": {"text": "Ada Lovelace"}, "state": "disputed"}
    tasks = LabelTask.objects.bulk_create(
        LabelTask(number=n, row=n, **facts) for n in range(begin, begin + len(numbers))
    )
    marks = {"spans": [{"start": 0, "end": 3, "label": "PERSON"}]}
    RemoteTask.objects.bulk_create(RemoteTask(group=group, task=row, number=row.number) for row in tasks)
    facts = {"group": group, "annotator": by, "marks": marks, "created_at": now, "updated_at": now}
    Annotation.objects.bulk_create(Annotation(task=row, remote_id=row.pk, remote_task=row.pk, **facts) for row in tasks)


def studies_of(plane: Seeded, project: Project, version: DatasetVersion, numbers: range) -> None:
    """Studies of either side; of the first ones as many sites, rounds and lines of the ledger."""
    now = timezone.now()
    with get_store().open_staging() as staging:
        staging.write(b'{"spec.py": "pass"}')
        digest, size = staging.publish()
    code = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
    Holding.objects.get_or_create(project=project, artifact=code, defaults={"name": "code.json", "created_by": "x"})
    columns = [{"name": name, "kind": "category", "categories": ["0", "1"]} for name in ("sex", "disease")]
    spec = StudySpec(name="heart", schema=DataSchema(columns=columns, target="disease"), code_digest="0" * 64)
    authority = create_authority("heart")
    facts = {"project": project, "document": spec.to_document(), "code": code, "host": "127.0.0.1", "port": 8102}
    facts |= {"authority_certificate": authority.certificate, "job_id": plane.job}
    keys = {"authority_key": encrypt_key(authority.key), "server_certificate": "", "server_key": ""}
    result = {"sites": {f"site{n}": {"metrics": {}} for n in numbers[:MAX_SITES]}}
    made = Study.objects.bulk_create(
        Study(name=f"heart{n}", digest=f"{n:064x}", result=result, created_by="engineer", **keys, **facts)
        for n in numbers
    )
    plane.study = plane.study or made[0].pk
    few = numbers[: max(0, MAX_SITES - Site.objects.filter(study=plane.study).count())]
    Site.objects.bulk_create(
        Site(study_id=plane.study, name=f"site{n}", certificate="x", invited_by="engineer") for n in few
    )
    RoundResult.objects.bulk_create(RoundResult(study_id=plane.study, number=n, sites_count=2) for n in numbers)
    key = generate_key().private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    keys = {"request": "", "key": "", "ledger_key": encrypt_key(key), "public_key": ""}
    joined = SiteStudy.objects.bulk_create(
        SiteStudy(name="heart", site="a", digest=f"{n:064x}", data=version, imported_by="engineer", **keys, **facts)
        for n in numbers
    )
    plane.site_study = plane.site_study or joined[0].pk
    facts = {"project": project, "site_study_id": plane.site_study, "document": {}, "kind": "update", "at": now}
    LedgerEntry.objects.bulk_create(
        LedgerEntry(entry_digest=f"{n:064x}", update_digest="0" * 64, round=n, size=1, **facts) for n in numbers
    )


def rollout_of(plane: Seeded, project: Project, variant: Variant, device: Device) -> None:
    """A rollout with a wave; the first one has each device and as many looks."""
    about = {"version": variant.version, "model_name": "wti", "plan": {}, "created_by": "engineer"}
    rollout = Rollout.objects.create(project=project, state="completed", **about)
    RolloutVariant.objects.create(rollout=rollout, architecture="x86_64", variant=variant, digest="0" * 64)
    Wave.objects.create(rollout=rollout, position=0, size={"share": 1}, devices=1, controls=0)
    plane.rollout = plane.rollout or rollout.pk
    wave = Wave.objects.get(rollout=plane.rollout)
    RolloutDevice.objects.create(rollout_id=plane.rollout, wave=wave, device=device, rank=0, architecture="x86_64")
    seen = {"verdict": "hold", "is_final": False, "document": {}, "at": timezone.now()}
    Look.objects.create(wave=wave, number=wave.evidence.count() + 1, **seen)


def widen(plane: Seeded, project: Project, main: Job, version: DatasetVersion, artifacts: list, wide: int) -> None:
    """People, projects, tokens, nodes, and what belongs to the one job and the one version: up to `wide` of each."""
    have = Node.objects.count() - 1
    numbers = range(have + 1, wide + 1)
    names = [f"person{n}" for n in numbers]
    users = User.objects.bulk_create([User(username=name, must_change_password=False, password="!") for name in names])
    others = Project.objects.bulk_create([Project(slug=f"p{n}", name="") for n in numbers])
    tools = ServiceAccount.objects.bulk_create([ServiceAccount(project=project, name=f"tool{n}") for n in numbers])
    engineer = User.objects.get(username="engineer")
    Membership.objects.bulk_create(Membership(project=project, user=user, role="viewer") for user in users)
    Membership.objects.bulk_create(Membership(project=other, user=engineer, role="engineer") for other in others)
    Membership.objects.bulk_create(Membership(project=project, service_account=tool, role="viewer") for tool in tools)
    vote = {"approval_id": plane.approval, "decision": "approve", "reason": "Fine.", "method": "password"}
    Vote.objects.bulk_create(Vote(user=user, label=user.username, **vote) for user in users)
    soon = timezone.now() + timedelta(days=3)
    ApiToken.objects.bulk_create(
        ApiToken(project=project, user=engineer, name="t", prefix="dso_", digest=sha256_hex(f"t{n}"), expires_at=soon)
        for n in numbers
    )
    nodes = Node.objects.bulk_create(Node(name=f"node-{n}", heartbeat_at=timezone.now(), **NODE) for n in numbers)
    probes = Probe.objects.bulk_create(Probe(requested_by="sysadmin") for _n in numbers)
    plane.probe = plane.probe or probes[0].pk
    snapshots_of(plane, numbers)
    emergency_grants_of(plane, numbers)
    recertifications_of(plane, project, numbers)
    evidence_of(plane, numbers)
    document = {"python": {"version": "3.11"}, "packages": {f"package-{n}": "1.0" for n in numbers}}
    NodeEnvironment.objects.bulk_create(
        NodeEnvironment(node=node, digest="d" * 64, document=document) for node in nodes
    )
    NodeProbe.objects.bulk_create(NodeProbe(probe_id=plane.probe, node=node) for node in nodes)
    isolation_of(Node.objects.get(name="node-0"), [n + 1 for n in numbers])
    for number, artifact in zip(numbers, artifacts, strict=False):
        parent = job_of(project, JobState.SUCCEEDED, number)
        parent.save()
        JobParent.objects.create(parent=parent, child=main)
        JobInput.objects.create(job=main, slot=f"in{number}", artifact=artifact, source_job=parent)
        JobOutput.objects.create(job=main, slot=f"out{number}", artifact=artifact, name="o", media_type="text/plain")
        DatasetFile.objects.create(version=version, path=f"f{number}", artifact=artifact, media_type="text/plain")
