"""Takes the tasks of one group to its project of Label Studio, each once, whatever dies or gets lost on the way."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

from django.urls import reverse

from apps.data.datasets.queries import iter_chunks
from apps.ml.labelling.models import AnnotatorGroup, LabelTask, RemoteTask
from apps.ml.labelling.queries import load_restorable
from apps.ml.labelling.services import importing
from apps.ml.labelling.tokens import decrypt_token
from deepseek.labelling.label_studio import render_result
from deepseek.labelling.marks import Marks
from deepseek.labelling.schema import LabellingSchema
from deepseek.messages import Message
from workers.isolation import find_plane_url
from workers.labelling.remote import RemoteFailure
from workers.labelling.round import Round
from workers.labelling.source import IMAGE_SUFFIXES

log = logging.getLogger(__name__)
BATCH = 500  # tasks of one import
MAX_BATCH_BYTES = 16_000_000  # of one import: images go along in it
MAX_IMAGE_BYTES = 2_000_000
META_KEY = "plane_task"


class Importer:
    def __init__(self, turn: Round, group: AnnotatorGroup) -> None:
        self.turn, self.group, self.labelling, self.schema = turn, group, turn.labelling, turn.schema

    def create_project(self) -> None:
        """Create the group's project on the server, or find the one of a driver that died before it was recorded."""
        remote = self.turn.remote
        title = build_title(self.group)
        project = remote.find_project(title)
        if project is None:
            project = remote.create_project(title, self.labelling.schema.config, describe_rules(self.schema))
        url = find_plane_url() + reverse("api-labelling-hook", args=[self.group.hook_key])
        try:
            hook = remote.create_hook(project, url, decrypt_token(self.labelling.server.hook_secret))
        except RemoteFailure as failure:
            if failure.status != 400:
                raise
            log.warning("labelling %s: no webhook, reconciliation alone: %s", self.labelling.pk, failure)
            hook = None  # the server refuses private addresses: polling finds everything too
        importing.record_remote_project(actor=self.turn.actor, group=self.group, remote_project=project, hook=hook)

    def import_tasks(self) -> None:
        """Import what is not there yet, batch by batch."""
        if self.group.is_import_open:
            self.adopt_imported()
        while not self.turn.stopping():
            batch = importing.list_next_batch(actor=self.turn.actor, group=self.group, most=BATCH)
            if not batch:
                return
            chosen, documents = self.build_documents(batch)
            self.turn.renew_lease()
            ids = self.turn.remote.import_tasks(self.project, documents)
            if len(ids) == len(chosen):
                self.record({row.task_id: one for row, one in zip(chosen, ids, strict=True)})
            elif not self.adopt_imported():
                raise RemoteFailure(Message("Label Studio did not return the ids of the imported tasks."), status=0)

    @property
    def project(self) -> int:
        assert self.group.remote_project is not None  # noqa: S101 - create_project comes first
        return self.group.remote_project

    def record(self, remote_ids: dict[int, int]) -> int:
        return importing.record_imported(
            actor=self.turn.actor, labelling=self.labelling, group=self.group, remote_ids=remote_ids
        )

    def adopt_imported(self) -> int:
        """Record what a batch has imported whose answer was lost: the newest tasks there that are not recorded here."""
        newest = self.turn.remote.list_task_keys(self.project, 2 * BATCH)
        there = [pk for pk, _meta in newest]
        recorded = set(self.group.remote_tasks.filter(remote_id__in=there).values_list("remote_id", flat=True))
        earlier = set(self.group.annotations.filter(remote_task__in=there).values_list("remote_task", flat=True))
        return self.record(
            {
                meta[META_KEY]: pk
                for pk, meta in newest
                if isinstance(meta.get(META_KEY), int) and pk not in recorded and pk not in earlier
            }
        )

    # -- what is sent ------------------------------------------------------------------------------------------------
    def build_documents(self, batch: list[RemoteTask]) -> tuple[list[RemoteTask], list[dict[str, Any]]]:
        """The first tasks of the batch that fit one request, and what is sent of them."""
        marked = load_restorable(self.group, batch)
        chosen: list[RemoteTask] = []
        documents: list[dict[str, Any]] = []
        size = 0
        for row in batch:
            document = self.build_document(row, marked.get(row.task_id, []))
            size += len(json.dumps(document))
            if documents and size > MAX_BATCH_BYTES:
                break
            chosen.append(row)
            documents.append(document)
        return chosen, documents

    def build_document(self, row: RemoteTask, marked: list[Any]) -> dict[str, Any]:
        """One task: its data, its number here, where annotators begin, and what they marked before it was deleted."""
        task, text = row.task, str(row.task.data.get("text", ""))
        data = {"text": text} if self.schema.data != "image" else {"image": build_image(task)}
        meta: dict[str, Any] = {META_KEY: task.pk}
        document: dict[str, Any] = {"data": data, "meta": meta}
        if row.returned.get("rules"):
            meta["violations"] = row.returned["rules"]
        marks = row.returned.get("marks") or task.prelabel
        if marks is not None:
            result = render_result(Marks.from_dict(marks), self.schema, text)
            document["predictions"] = [{"model_version": "plane", "result": result}]
        if marked:
            document["annotations"] = [
                {
                    "result": render_result(Marks.from_dict(one.marks), self.schema, text),
                    "completed_by": one.annotator.remote_user,
                    "was_cancelled": one.is_skipped,
                    "lead_time": one.seconds,
                }
                for one in marked
            ]
        return document


def build_title(group: AnnotatorGroup) -> str:
    """The title of the group's project there: at most 50 characters, the last of which no other group has."""
    labelling = group.labelling
    return f"{f'{labelling.project.slug} {labelling.name}'[:36]} {group.number} {group.hook_key[:10]}"


def build_image(task: LabelTask) -> str:
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


def describe_rules(schema: LabellingSchema) -> str:
    """Instructions for annotators: the business rules in words."""
    return "\n".join(f"{rule.name}: {rule.message or rule.condition}" for rule in schema.rules)
