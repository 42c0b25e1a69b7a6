"""Starting an agent, and running its turns until it is to end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from deepseek.agent.agent import Agent
from deepseek.agent.errors import AgentError
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.serving.server_process import ServeFactory
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.identity import detect_architecture, get_agent_version, load_identity
from deepseek.client.credentials import is_clear_text

DONE, FAILED, INTERRUPTED = 0, 1, 130
TERMINATED = 128 + signal.SIGTERM
LOOK_SECONDS = 0.5


def open_home(folder: Path) -> Home:
    """The home folder, locked for this process."""
    home = Home(folder)
    home.prepare()
    home.lock()
    return home


def build_agent(home: Home, options: AgentOptions, log: JsonLog, *, is_offline: bool = False) -> Agent:
    """The agent of this machine. Raises AgentError for a home folder of another plane, or an address in use."""
    architecture = detect_architecture()
    factory = ServeFactory(home.folder, home.recorded, home.labels, host=options.host, port=options.port)
    connection = None if is_offline else open_connection(home, options, log)
    agent = Agent(home, options, factory, connection, log, architecture=architecture)
    log.write("started", version=get_agent_version(), serve=f"{options.host}:{factory.port}", plane=options.plane)
    return agent


def open_connection(home: Home, options: AgentOptions, log: JsonLog) -> PlaneConnection | None:
    """The way to the plane: that of the options, or the one that the device enrolled at; None where there is none."""
    identity = load_identity(home)
    url = options.plane or (identity.plane if identity else "")
    if identity is not None and url != identity.plane:
        raise AgentError(
            "home_of_other_plane",
            f"This device enrolled at {identity.plane}.",
            field="--plane",
            value=url,
            limit=identity.plane,
            hint="Give that address, or another home folder to enrol the device anew.",
        )
    if not url:
        log.write("offline", "warning")
        return None
    if is_clear_text(url):
        log.write("not_encrypted", "warning", plane=url)
    return PlaneConnection(url, ca=options.ca, agent=f"deepseek-agent/{get_agent_version()}")


def run_turns(agent: Agent, *, is_once: bool) -> int:
    """Turn after turn; with `is_once` until nothing is under way any more."""
    try:
        while True:
            pause = agent.run_turn()
            if is_once and (code := judge_end(agent)) is not None:
                return code
            time.sleep(min(pause, LOOK_SECONDS) if is_once else pause)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stopped:
        return DONE if stopped.code == TERMINATED else FAILED
    finally:
        agent.close()
        agent.log.write("stopped")


def judge_end(agent: Agent, most_failures: int = 0) -> int | None:
    """The exit code of `--once`; None as long as something is under way. `most_failures`: of requests in a row, after
    which the plane is tried again."""
    if agent.disk_errors or (agent.session is not None and agent.session.link.failures > most_failures):
        return FAILED
    if not agent.is_settled:
        return None
    outcome = agent.updater.outcome
    return DONE if outcome is None or outcome.result in ("running", "cancelled") else FAILED
