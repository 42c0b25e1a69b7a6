"""Drives labelling projects: reads their tasks, imports them, copies annotations, measures, publishes.

A process of its own, which the dispatcher starts while there is something to drive: label-studio-sdk takes 170 MB.
Every step is recorded before the next, and a lease keeps two drivers from one project, so it may be killed anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.ml.labelling.models import AnnotatorGroup, LabellingProject, LabelServer
from apps.ml.labelling.services import importing, results, servers, syncing
from apps.ml.labelling.states import LabellingState, ServerState
from apps.platform.nodes.samples import get_database_now
from deepseek.job import EngineError
from deepseek.labelling.agreement import AgreementTask, measure_agreement
from deepseek.labelling.marks import Marks
from deepseek.labelling.result import write_result
from deepseek.messages import Message
from workers.labelling.importer import Importer
from workers.labelling.reconciliation import Reconciliation
from workers.labelling.remote import RemoteFailure, RemoteServer
from workers.labelling.round import OpenRemote, Round, Stopping
from workers.labelling.source import prepare_tasks

log = logging.getLogger(__name__)
POLL = timedelta(seconds=30)  # how long a change there goes unnoticed where its webhook is lost
RETRY = timedelta(seconds=15)  # after a failure of the server
QUICK_SECONDS = 5.0  # a measurement that is repeated in every round
MEASURE_SHARE = 20  # of the time of a measurement, before the next: marks come by the minute, and it reads them all


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
        with Round(actor, labelling, stopping=stopping, open_remote=open_remote) as turn:
            failure, has_more = run_round(turn)
            pause = timedelta(0) if has_more else POLL
        if labelling.server.state != ServerState.HEALTHY:
            check_server(actor, labelling.server, open_remote)  # it is back: people are not to wait for the next check
    except RemoteFailure as trouble:
        log.warning("labelling %s: %s", labelling.pk, trouble)
        failure, pause = trouble.message, RETRY
        state = ServerState.REFUSED if trouble.is_refusal else ServerState.UNREACHABLE
        if trouble.is_refusal or trouble.status is None:
            servers.record_check(actor=actor, server=labelling.server, state=state, failure=failure)
    except EngineError as fault:
        with suppress(StaleState):  # closed meanwhile
            importing.fail_labelling(actor=actor, labelling=labelling, failure=fault.message)
        return
    except StaleState:
        log.info("labelling %s: closed, or another driver has it", labelling.pk)
        return
    except PlaneError as trouble:
        failure, pause = Message("{reason}", reason=str(trouble)), RETRY
    except Exception as fault:  # one labelling project must not end the driver of all
        log.exception("labelling %s", labelling.pk)
        failure = Message("The round ended with {error}; the dispatcher's log says where.", error=type(fault).__name__)
        pause = POLL
    if labelling.state not in (LabellingState.FAILED, LabellingState.CLOSED):
        importing.release_labelling(actor=actor, labelling=labelling, pause=pause, failure=failure)


def run_round(turn: Round) -> tuple[Message | None, bool]:
    """Go on from wherever the last round ended; returns what a person has to know, and whether more waits at once."""
    actor, labelling = turn.actor, turn.labelling
    if labelling.state == LabellingState.PREPARING:
        prepare_tasks(turn)
        labelling.refresh_from_db(fields=["state", "tasks_count", "progress"])
    trouble, away = None, None
    try:
        for group in labelling.groups.order_by("number"):
            group.labelling = labelling
            trouble = drive_group(turn, group) or trouble
    except RemoteFailure as failure:
        if labelling.state != LabellingState.LABELLING:
            raise
        away = failure
    if turn.stopping():
        return trouble, False
    if labelling.state == LabellingState.IMPORTING:
        importing.finish_import(actor=actor, labelling=labelling)
        return trouble, True
    is_due = labelling.full_sync_at is None or labelling.full_sync_at <= get_database_now()
    if is_due and away is None:
        syncing.record_full_sync(actor=actor, labelling=labelling)
    progress = syncing.record_progress(actor=actor, labelling=labelling)
    measure(turn)
    if away is not None:
        raise away  # what people decided meanwhile counts; a result waits for the server
    if labelling.publish_request:
        trouble = publish(turn) or trouble
    if progress["unknown"]:
        trouble = Message(
            "Annotations use values that the schema does not have: {names}. Was a label renamed in Label Studio?",
            names=", ".join(progress["unknown"])[:300],
        )
    return trouble, progress["imported"] < progress["to_import"]  # what was sent back, or deleted there


def drive_group(turn: Round, group: AnnotatorGroup) -> Message | None:
    importer = Importer(turn, group)
    if group.remote_project is None:
        importer.create_project()
    importer.import_tasks()
    if turn.labelling.state == LabellingState.LABELLING and not turn.stopping():
        return Reconciliation(turn, group).run()
    return None


def measure(turn: Round) -> None:
    """Measure agreement where marks have come since; a slow measurement is not repeated in every round."""
    labelling = turn.labelling
    labelling.refresh_from_db(fields=["changed_at", "measured_at", "publish_request"])
    last, now = labelling.measured_at, get_database_now()
    if labelling.changed_at is None or (last and last >= labelling.changed_at):
        return
    seconds = float(labelling.agreement.get("seconds", 0))
    pause = timedelta(seconds=MEASURE_SHARE * seconds if seconds > QUICK_SECONDS else 0)
    if last and now < last + pause and not labelling.publish_request:
        return
    begun = time.monotonic()
    turn.renew_lease()
    rows = (
        AgreementTask(
            row["text"],
            {name: Marks.from_dict(marks) for name, marks in row["marks"].items()},
            None if row["gold"] is None else Marks.from_dict(row["gold"]),
        )
        for row in results.iterate_annotations(labelling)
    )
    figures = json.loads(json.dumps(measure_agreement(rows), allow_nan=False))
    figures["seconds"] = round(time.monotonic() - begun, 2)
    syncing.record_agreement(
        actor=turn.actor, labelling=labelling, agreement=figures, value=figures["value"], measured_at=now
    )


def publish(turn: Round) -> Message | None:
    labelling = turn.labelling
    labelling.refresh_from_db(fields=["bar", "agreement_value", "agreement", "publish_request"])
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        written = write_result(results.iterate_results(labelling), turn.schema, Path(folder))
        facts = {
            **written,
            "agreement": {name: labelling.agreement.get(name) for name in ("tasks", "equal", "fleiss", "measure")},
            "agreement_value": labelling.agreement_value,
        }
        try:
            results.publish_result(
                actor=turn.actor, labelling=labelling, files=written["files"], images=written["images"], facts=facts
            )
        except PlaneError as refusal:
            results.drop_publish_request(actor=turn.actor, labelling=labelling)
            return Message("The result was not published: {reason}", reason=str(refusal))
    return None
