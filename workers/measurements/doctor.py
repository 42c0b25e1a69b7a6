"""The doctor of this node, run by its worker because a probe was requested: its report is the node's health."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection

import deepseek
from apps.core.actors import Actor
from apps.core.errors import Invalid, StaleState
from apps.platform.nodes.health.queries import describe_registration
from apps.platform.nodes.models import Node
from apps.platform.nodes.probes.models import NodeProbe
from apps.platform.nodes.probes.services import fail_node_probe, finish_node_probe, start_node_probe
from deepseek.doctor.replay import select_environment
from deepseek.messages import Message

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # between two looks whether a probe is requested
LIMIT_SECONDS = {1: 120.0, 2: 600.0}  # by level; the doctor itself takes seconds, or two minutes
REPORTING_CODES = (0, 1, 3)  # with which the doctor ends when it has a report


class DoctorProbe:
    """Asked by the heartbeat, which it never delays: the doctor is a process, watched by a thread of its own."""

    def __init__(self, *, actor: Actor, node: Node, folder: Path) -> None:
        self.actor, self.node, self.folder = actor, node, folder
        self.next_look = 0.0
        self.thread: threading.Thread | None = None

    def run_when_requested(self, *, is_idle: bool) -> bool:
        """Begin with the oldest probe that waits for this node; returns whether one has begun."""
        if time.monotonic() < self.next_look or (self.thread and self.thread.is_alive()):
            return False
        self.next_look = time.monotonic() + LOOK_SECONDS
        row = start_node_probe(actor=self.actor, node=self.node, is_idle=is_idle)
        if row is None:
            return False
        self.thread = threading.Thread(target=self.probe, args=(row,), name="doctor", daemon=True)
        self.thread.start()
        return True

    def probe(self, row: NodeProbe) -> None:
        """Run the doctor and keep its report, or why there is none. A lost worker leaves it to the dispatcher."""
        try:
            node = Node.objects.get(pk=self.node.pk)  # as it is registered now
            document = run_doctor(row.probe.level, describe_registration(node), self.folder)
            if isinstance(document, Message):
                fail_node_probe(actor=self.actor, row=row, message=document)
            else:
                self.store_report(row, document)
        except (OSError, DatabaseError, StaleState, Node.DoesNotExist) as failure:
            log.warning("probe %s of this node: %s", row.pk, failure)
        finally:
            connection.close()

    def store_report(self, row: NodeProbe, document: dict[str, Any]) -> None:
        try:
            finish_node_probe(actor=self.actor, row=row, document=document)
        except (Invalid, KeyError, TypeError, ValueError) as failure:
            log.warning("probe %s of this node: the doctor's report: %r", row.pk, failure)
            fail_node_probe(actor=self.actor, row=row, message=Message("The doctor printed no report."))


def run_doctor(
    level: int, registration: Mapping[str, Any], folder: Path, checks: Sequence[str] = ()
) -> dict[str, Any] | Message:
    """The document that the doctor prints of all its checks or of `checks`; a message where it prints none.

    Its environment has what its checks read and no secret of the worker's, and it imports nothing from `folder`,
    where jobs write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="registration-", suffix=".json") as file:
        json.dump(registration, file)
        file.flush()
        words = ["--format", "json", "--level", str(level), "--node", str(registration["name"])]
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "deepseek.doctor", *checks, *words, "--registered", file.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=build_environment(),
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=LIMIT_SECONDS[level])
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                return Message("The doctor had not ended after {seconds} s.", seconds=round(LIMIT_SECONDS[level]))
    if process.returncode not in REPORTING_CODES:
        text = errors.decode(errors="replace").strip()[-300:]
        return Message("The doctor ended with {exit_code}: {text}", exit_code=process.returncode, text=text)
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and isinstance(document.get("checks"), list):
        return document
    return Message("The doctor printed no report.")


def build_environment() -> dict[str, str]:
    package = Path(str(deepseek.__file__)).parents[1]
    names = ("PATH", "HOME", "LANG", "DEEPSEEK_DOCTOR_SETTINGS", "NODE_NAME")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return {**select_environment(os.environ), **inherited, "PYTHONPATH": str(package)}
