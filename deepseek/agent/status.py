"""The file that `deepseek agent status` prints: what the agent knows of itself, without secrets."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.agent.agent import Agent


def write_status(agent: Agent) -> None:
    """Replace the file where something has changed. It is for people, and need not outlive a power cut."""
    document = describe_agent(agent)
    text = json.dumps(document, indent=1)
    path = agent.home.status_file
    with suppress(OSError):
        if path.read_text() == text:
            return
    staged = path.with_suffix(".json.new")
    with suppress(OSError):  # the next turn tries again
        staged.write_text(text)
        os.replace(staged, path)


def describe_agent(agent: Agent) -> dict[str, Any]:
    """What a person asks: who, with which plane, what runs, what is under way."""
    session, update = agent.session, agent.updater.journal.update
    identity, outcome = agent.identity, agent.updater.outcome
    release = agent.home.read_current()
    server = None if release is None else agent.supervisor.get_serving(release)
    version = server.version.statement if server is not None else None
    return {
        "device": identity.device if identity else None,
        "name": identity.name if identity else None,
        "project": identity.project if identity else None,
        "plane": agent.options.plane or (identity.plane if identity else None),
        "state": session.state if session is not None else "offline",
        "plane_answers": None if session is None else session.link.failures == 0 and session.polls > 0,
        "keys_version": agent.trust.version,
        "current": release,
        "previous": agent.state.state.previous,
        "model": None if version is None else f"{version.model} {version.version} {version.variant}",
        "running": server is not None,
        "error": agent.supervisor.error,
        "update": None
        if update is None
        else {"release": update.release, "step": update.step, "assignment": update.assignment},
        "last_update": None if outcome is None else asdict(outcome),
        "outbox": len(agent.outbox),
        "pid": os.getpid(),
    }
