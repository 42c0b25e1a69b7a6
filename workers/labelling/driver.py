"""Drives labelling projects: reads their tasks, imports them, copies annotations, measures, publishes.

A process of its own, which the dispatcher starts while there is something to drive: label-studio-sdk takes 170 MB.
Every step is recorded before the next, and a lease keeps two drivers from one project, so it may be killed anywhere.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection
from django.urls import reverse

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.data.datasets.queries import iter_chunks
from apps.ml.labelling.models import AnnotatorGroup, LabellingProject, LabelServer, LabelTask, RemoteTask
from apps.ml.labelling.services import importing, results, servers, syncing
from apps.ml.labelling.states import LabellingState, ServerState, TaskOrder
from apps.ml.labelling.tokens import decrypt_token
from apps.platform.nodes.samples import get_database_now
from deepseek.job import EngineError
from deepseek.labelling.agreement import AgreementTask, measure_agreement
from deepseek.labelling.label_studio import parse_result, render_result
from deepseek.labelling.marks import Marks
from deepseek.labelling.result import write_result
from deepseek.labelling.schema import LabellingSchema
from deepseek.labelling.tasks import Task, add_prelabels, iterate_tasks
from deepseek.messages import Message
from workers.isolation import find_plane_url
from workers.labelling.remote import RemoteFailure, RemoteServer, parse_time

log = logging.getLogger(__name__)
BATCH = 500  # tasks of one import
POLL = timedelta(seconds=30)  # how long a change there goes unnoticed where its webhook is lost
RETRY = timedelta(seconds=15)  # after a failure of the server
SETTLE = timedelta(seconds=2)  # changes so young are read with the next round: others of their second may follow
CLOCK_DIFFERENCE = timedelta(minutes=10)
MAX_IMAGE_BYTES = 2_000_000
IMAGE_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
META_KEY = "plane_task"
Stopping = Callable[[], bool]
OpenRemote = Callable[[LabelServer], RemoteServer]


def drive_labellings(
    actor: Actor, *, stopping: Stopping = lambda: False, open_remote: OpenRemote = RemoteServer
) -> int:
    """Check the connections and drive the labelling projects that are due; returns how many there were."""
    done = 0
    for server in servers.list_due_servers(actor=actor):
        check_server(actor, server, open_remote)
        done += 1
    owner = f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
    while not stopping():
        labelling = importing.take_labelling(actor=actor, owner=owner)
        if labelling is None:
            break
        drive_labelling(actor, labelling, stopping, open_remote)
        done += 1
    return done


def check_server(actor: Actor, server: LabelServer, open_remote: OpenRemote = RemoteServer) -> None:
    """Ask the server for its version with the token, and record what came of it."""
    try:
        remote = open_remote(server)
        try:
            version = remote.get_version()
        finally:
            remote.close()
    except RemoteFailure as failure:
        state = ServerState.REFUSED if failure.is_refusal else ServerState.UNREACHABLE
        servers.record_check(actor=actor, server=server, state=state, failure=failure.message)
    else:
        servers.record_check(actor=actor, server=server, state=ServerState.HEALTHY, version=version)


def drive_labelling(actor: Actor, labelling: LabellingProject, stopping: Stopping, open_remote: OpenRemote) -> None:
    """One round of one labelling project, whose lease is held."""
    pause, failure = POLL, None
    try:
        with Round(actor, labelling, stopping, open_remote) as turn:
            failure = turn.run()
            pause = timedelta(0) if turn.has_more else POLL
    except RemoteFailure as trouble:
        log.warning("labelling %s: %s", labelling.pk, trouble)
        failure, pause = trouble.message, RETRY
        state = ServerState.REFUSED if trouble.is_refusal else ServerState.UNREACHABLE
        if trouble.is_refusal or trouble.status is None:
            servers.record_check(actor=actor, server=labelling.server, state=state, failure=failure)
    except EngineError as fault:
        importing.fail_labelling(actor=actor, labelling=labelling, failure=fault.message)
        return
    except StaleState:
        log.info("labelling %s: another driver has it", labelling.pk)
        return
    except PlaneError as trouble:
        failure, pause = Message("{reason}", reason=str(trouble)), RETRY
    if labelling.state not in (LabellingState.FAILED, LabellingState.CLOSED):
        importing.release_labelling(actor=actor, labelling=labelling, pause=pause, failure=failure)


class Round:
    """What is done for one labelling project while its lease is held."""

    def __init__(self, actor: Actor, labelling: LabellingProject, stopping: Stopping, open_remote: OpenRemote) -> None:
        self.actor, self.labelling, self.stopping, self.open_remote = actor, labelling, stopping, open_remote
        self.schema = LabellingSchema.model_validate(labelling.schema.document)
        self.remote: Any = None
        self.users: dict[int, str] | None = None
        self.has_more = False
        self.renewed_at = time.monotonic()

    def __enter__(self) -> Round:
        return self

    def __exit__(self, *_: object) -> None:
        if self.remote is not None:
            self.remote.close()

    def run(self) -> Message | None:
        """Go on from wherever the last round ended; returns what a person has to know, if anything."""
        if self.labelling.state == LabellingState.PREPARING:
            self.prepare()
        self.remote = self.open_remote(self.labelling.server)
        trouble = None
        for group in self.labelling.groups.order_by("number"):
            group.labelling = self.labelling
            trouble = self.drive_group(group) or trouble
        if self.stopping():
            return trouble
        if self.labelling.state == LabellingState.IMPORTING:
            importing.finish_import(actor=self.actor, labelling=self.labelling)
        if self.labelling.full_sync_at is None or self.labelling.full_sync_at <= get_database_now():
            syncing.record_full_sync(actor=self.actor, labelling=self.labelling)
        progress = syncing.record_progress(actor=self.actor, labelling=self.labelling)
        self.measure()
        if self.labelling.publish_request:
            trouble = self.publish() or trouble
        if progress["imported"] < progress["to_import"]:
            self.has_more = True  # what was sent back, or deleted there
        if progress["unknown"]:
            return Message(
                "Annotations use values that the schema does not have: {names}. Was a label renamed in Label Studio?",
                names=", ".join(progress["unknown"])[:300],
            )
        return trouble

    def keep_lease(self) -> None:
        if time.monotonic() - self.renewed_at > importing.LEASE.total_seconds() / 4:
            importing.renew_lease(actor=self.actor, labelling=self.labelling)
            self.renewed_at = time.monotonic()

    # -- tasks from the source ---------------------------------------------------------------------------------------
    def prepare(self) -> None:
        tasks = list(self.iterate_source())
        if len(tasks) > importing.MAX_TASKS:
            raise EngineError(
                "too_many_tasks", "The source has {count} tasks.", count=len(tasks), limit=importing.MAX_TASKS
            )
        if not tasks:
            raise EngineError("no_tasks", "The source has no task.")
        if self.labelling.order == TaskOrder.UNCERTAINTY:
            tasks.sort(key=lambda task: -(task["uncertainty"] or 0.0))
        importing.store_tasks(actor=self.actor, labelling=self.labelling, tasks=tasks)
        self.labelling.refresh_from_db(fields=["state", "tasks_count", "progress"])

    def iterate_source(self) -> Iterator[Task]:
        parent = self.labelling.parent
        if parent is not None:
            for result in results.iterate_results(parent):
                prelabel = result["marks"]
                yield {
                    "row": result["row"],
                    "data": result["data"],
                    "gold": None,
                    "prelabel": prelabel,
                    "uncertainty": None,
                }
            return
        files = {file.path: file for file in self.labelling.source.files.select_related("artifact")}
        if self.schema.data == "image":
            for row, path in enumerate(sorted(files)):
                if Path(path).suffix.lower() in IMAGE_SUFFIXES:
                    data = {"image": path, "digest": files[path].artifact_id}
                    yield {"row": row, "data": data, "gold": None, "prelabel": None, "uncertainty": None}
            return
        with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
            local = self.fetch(Path(folder, "source"), files[self.labelling.source_file].artifact_id)
            tasks = iterate_tasks(local, self.labelling.source_file, self.schema, self.labelling.text_column)
            version = self.labelling.prelabel_version
            if version is not None:
                variant = (
                    version.variants.filter(format="safetensors").order_by("pk").first() or version.variants.first()
                )
                if variant is None:
                    raise EngineError("no_variant", "{model} has no form that can run here.", model=str(version))
                model = self.fetch(Path(folder, variant.file), variant.artifact_id)
                manifest = self.fetch(Path(folder, "model.json"), variant.manifest_id)
                tasks = add_prelabels(tasks, model, manifest, self.schema)
            for place, task in enumerate(tasks):
                if place % 256 == 0:
                    self.keep_lease()
                yield task

    def fetch(self, path: Path, digest: str) -> Path:
        with path.open("wb") as file:
            for chunk in iter_chunks(digest):
                file.write(chunk)
        if connection.vendor != "sqlite":
            connection.close()
        return path

    # -- one group ---------------------------------------------------------------------------------------------------
    def drive_group(self, group: AnnotatorGroup) -> Message | None:
        if group.remote_project is None:
            self.create_remote_project(group)
        assert group.remote_project is not None  # noqa: S101 - just created
        trouble = None
        if self.labelling.state == LabellingState.LABELLING:
            trouble = self.check_remote_project(group)
        self.import_group(group)
        if self.labelling.state == LabellingState.LABELLING and not self.stopping():
            self.sync_group(group)
        return trouble

    def create_remote_project(self, group: AnnotatorGroup) -> None:
        title = f"{self.labelling.project.slug} {self.labelling.name} {group.number} {group.hook_key[:6]}"
        project = self.remote.find_project(title)
        if project is None:
            project = self.remote.create_project(title, self.labelling.schema.config, describe_rules(self.schema))
        url = find_plane_url() + reverse("api-labelling-hook", args=[group.hook_key])
        try:
            hook = self.remote.create_hook(project, url, decrypt_token(self.labelling.server.hook_secret))
        except RemoteFailure as failure:
            if failure.status != 400:
                raise
            log.warning("labelling %s: no webhook, reconciliation alone: %s", self.labelling.pk, failure)
            hook = None  # the server refuses private addresses: polling finds everything too
        importing.record_remote_project(actor=self.actor, group=group, remote_project=project, hook=hook)

    def check_remote_project(self, group: AnnotatorGroup) -> Message | None:
        """Find tasks that were deleted there, by their number each round and one by one when it differs."""
        project_there = self.remote.get_project(group.remote_project)
        local_tasks = RemoteTask.objects.filter(group=group, remote_id__isnull=False)
        sent_back = group.annotations.exclude(remote_task__in=local_tasks.values("remote_id")).filter(is_deleted=False)
        if project_there["tasks"] < local_tasks.count() + sent_back.values("remote_task").distinct().count():
            present = self.remote.list_task_ids(group.remote_project)
            gone = [
                pk for pk in local_tasks.values_list("remote_id", flat=True) if pk is not None and pk not in present
            ]
            if gone:
                importing.forget_remote_tasks(actor=self.actor, labelling=self.labelling, group=group, remote_ids=gone)
        if project_there["config"].strip() != self.labelling.schema.config:
            return Message(
                "The labelling interface of group {group} was changed in Label Studio; the schema here is {schema}.",
                group=group.name,
                schema=str(self.labelling.schema),
            )
        return None

    def is_full_sync_due(self) -> bool:
        return self.labelling.full_sync_at is None or self.labelling.full_sync_at <= get_database_now()

    def import_group(self, group: AnnotatorGroup) -> None:
        if group.is_import_open:
            self.adopt_imported(group)
        while not self.stopping():
            self.keep_lease()
            batch = importing.list_next_batch(actor=self.actor, group=group, most=BATCH)
            if not batch:
                return
            documents = [self.build_remote_task(row) for row in batch]
            ids = self.remote.import_tasks(group.remote_project, documents)
            if len(ids) != len(batch):
                self.adopt_imported(group)
                continue
            remote_ids = {row.task_id: one for row, one in zip(batch, ids, strict=True)}
            importing.record_imported(actor=self.actor, labelling=self.labelling, group=group, remote_ids=remote_ids)

    def adopt_imported(self, group: AnnotatorGroup) -> None:
        """Find what a batch has imported whose answer was lost: the newest tasks there that are not recorded here."""
        newest = self.remote.list_task_keys(group.remote_project, 2 * BATCH)
        existing_ids = set(
            RemoteTask.objects.filter(group=group, remote_id__in=[pk for pk, _meta in newest]).values_list(
                "remote_id", flat=True
            )
        )
        old = set(group.annotations.values_list("remote_task", flat=True))
        found = {
            int(meta[META_KEY]): pk
            for pk, meta in newest
            if META_KEY in meta and pk not in existing_ids and pk not in old
        }
        importing.record_imported(actor=self.actor, labelling=self.labelling, group=group, remote_ids=found)

    def build_remote_task(self, row: RemoteTask) -> dict[str, Any]:
        task, text = row.task, str(row.task.data.get("text", ""))
        data = {"text": text} if self.schema.data != "image" else {"image": self.build_image(task)}
        meta: dict[str, Any] = {META_KEY: task.pk}
        marks = row.returned.get("marks") or task.prelabel
        document: dict[str, Any] = {"data": data, "meta": meta}
        if row.returned.get("rules"):
            meta["violations"] = row.returned["rules"]
        if marks is not None:
            result = render_result(Marks.from_dict(marks), self.schema, text)
            document["predictions"] = [{"model_version": "plane", "result": result}]
        if restored := row.returned.get("restore"):
            document["annotations"] = [
                {
                    "result": render_result(Marks.from_dict(one.marks), self.schema, text),
                    "completed_by": one.annotator.remote_user,
                    "was_cancelled": one.is_skipped,
                    "lead_time": one.seconds,
                }
                for one in row.group.annotations.filter(
                    task=task, remote_task=restored, is_deleted=False
                ).select_related("annotator")
            ]
        return document

    def build_image(self, task: LabelTask) -> str:
        """The image as a data URI: the browser of an annotator has no right to fetch files of the plane."""
        path, digest = str(task.data["image"]), str(task.data["digest"])
        content = b"".join(iter_chunks(digest))
        if len(content) > MAX_IMAGE_BYTES:
            raise RemoteFailure(
                Message(
                    "The image {path} has {size} bytes, and {limit} are the most.",
                    path=path,
                    size=len(content),
                    limit=MAX_IMAGE_BYTES,
                ),
                status=0,
            )
        kind = IMAGE_SUFFIXES[Path(path).suffix.lower()]
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    # -- annotations -------------------------------------------------------------------------------------------------
    def sync_group(self, group: AnnotatorGroup) -> None:
        """Copy what has changed since the cursor; a full reconciliation copies every annotation."""
        is_full = group.cursor is None or self.is_full_sync_due()
        begun, newest = datetime.now(UTC), group.cursor
        present: set[int] = set()
        if is_full:
            pages = self.remote.iterate_annotated_tasks(group.remote_project)
        else:
            pages = self.remote.iterate_changed_tasks(group.remote_project, group.cursor)
        for page in pages:
            self.keep_lease()
            changed = [parse_time(task.updated_at) for task in page]
            newest = max([*changed, newest] if newest else changed)
            present |= self.store_page(group, page)
            if self.stopping():
                return
        if is_full:
            syncing.delete_missing(actor=self.actor, labelling=self.labelling, group=group, present=present)
        # The server's clock decides, less a moment in which a slower transaction of it may still end. Before anything
        # was annotated there, ours does, less what clocks may differ.
        cursor = newest - SETTLE if newest else begun - CLOCK_DIFFERENCE
        if group.cursor is None or cursor > group.cursor:
            syncing.advance_cursor(actor=self.actor, group=group, cursor=cursor)

    def store_page(self, group: AnnotatorGroup, page: list[Any]) -> set[int]:
        """Copy the annotations of these tasks; returns their ids on the server."""
        if self.users is None:
            self.users = self.remote.list_users()
        texts = self.load_texts(group, [int(task.id) for task in page])
        rows = [
            self.read_annotation(one, int(task.id), self.users, texts.get(int(task.id), ""))
            for task in page
            for one in task.annotations or []
        ]
        syncing.store_annotations(
            actor=self.actor,
            labelling=self.labelling,
            group=group,
            annotations=rows,
            complete_tasks=[int(task.id) for task in page],
        )
        return {row.remote_id for row in rows}

    def load_texts(self, group: AnnotatorGroup, remote_ids: list[int]) -> dict[int, str]:
        rows = RemoteTask.objects.filter(group=group, remote_id__in=remote_ids)
        texts = {one: str(data.get("text", "")) for one, data in rows.values_list("remote_id", "task__data") if one}
        sent_back = group.annotations.filter(remote_task__in=set(remote_ids) - set(texts))
        texts.update(
            {one: str(data.get("text", "")) for one, data in sent_back.values_list("remote_task", "task__data")}
        )
        return texts

    def read_annotation(self, row: Any, task: int, users: dict[int, str], text: str) -> syncing.RemoteAnnotation:
        facts = row if isinstance(row, dict) else row.model_dump()
        marks, unknown = parse_result(facts.get("result"), self.schema, text)
        by = facts.get("completed_by")
        user = int(by.get("id", 0) if isinstance(by, dict) else by or 0)
        return syncing.RemoteAnnotation(
            remote_id=int(facts["id"]),
            remote_task=task,
            user=user,
            user_name=users.get(user, ""),
            marks=marks.to_dict(),
            unknown=unknown,
            seconds=float(facts.get("lead_time") or 0),
            is_skipped=bool(facts.get("was_cancelled")),
            created_at=parse_time(facts["created_at"]),
            updated_at=parse_time(facts["updated_at"]),
        )

    # -- figures and the result --------------------------------------------------------------------------------------
    def measure(self) -> None:
        labelling = self.labelling
        labelling.refresh_from_db(fields=["changed_at", "measured_at", "publish_request"])
        if labelling.changed_at is None or (labelling.measured_at and labelling.measured_at >= labelling.changed_at):
            return
        rows = (
            AgreementTask(
                row["text"],
                {name: Marks.from_dict(marks) for name, marks in row["marks"].items()},
                None if row["gold"] is None else Marks.from_dict(row["gold"]),
            )
            for row in results.iterate_annotations(labelling)
        )
        figures = json.loads(json.dumps(measure_agreement(rows), allow_nan=False))
        syncing.record_agreement(actor=self.actor, labelling=labelling, agreement=figures, value=figures["value"])
        labelling.agreement, labelling.agreement_value = figures, figures["value"]

    def publish(self) -> Message | None:
        labelling = self.labelling
        labelling.refresh_from_db(fields=["bar", "agreement_value", "agreement", "publish_request"])
        with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
            written = write_result(results.iterate_results(labelling), self.schema, Path(folder))
            facts = {
                **written,
                "agreement": {name: labelling.agreement.get(name) for name in ("tasks", "equal", "fleiss", "measure")},
                "agreement_value": labelling.agreement_value,
            }
            try:
                results.publish_result(
                    actor=self.actor, labelling=labelling, files=written["files"], images=written["images"], facts=facts
                )
            except PlaneError as refusal:
                results.drop_publish_request(actor=self.actor, labelling=labelling)
                return Message("The result was not published: {reason}", reason=str(refusal))
        return None


def describe_rules(schema: LabellingSchema) -> str:
    """Instructions for annotators: the business rules in words."""
    return "\n".join(f"{rule.name}: {rule.message or rule.condition}" for rule in schema.rules)
