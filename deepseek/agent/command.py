"""The command ``deepseek agent``: the agent itself, `install` for a carried folder, and `status`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from deepseek.agent.errors import AgentError, AgentFailure
from deepseek.agent.flags import build_install_parser, build_parser, build_status_parser, read_options
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.startup import DONE, LOOK_SECONDS, build_agent, open_home, run_turns
from deepseek.agent.storage.home import Home
from deepseek.agent.updating.incoming import bring_release
from deepseek.agent.updating.trust import TrustStore


def run_agent(words: Sequence[str]) -> int:
    """Run the agent until a signal says to stop, or what the first word names."""
    if words[:1] == ["install"]:
        return install_folder(words[1:])
    if words[:1] == ["status"]:
        return show_status(words[1:])
    arguments = build_parser().parse_args(words)
    options = read_options(arguments)
    if arguments.simulate:
        from deepseek.agent.serving.traffic import Traffic
        from deepseek.agent.simulation import simulate_devices

        traffic = Traffic.read(arguments.traffic, arguments.traffic_seconds) if arguments.traffic else None
        return simulate_devices(options, arguments.simulate, is_once=arguments.once, traffic=traffic)
    home = open_home(options.home)
    try:
        return run_turns(build_agent(home, options, JsonLog()), is_once=arguments.once)
    finally:
        home.unlock()


def install_folder(words: Sequence[str]) -> int:
    """Install a release that was carried here: by the agent that works in the home folder, or by this process."""
    arguments = build_install_parser().parse_args(words)
    home = Home(arguments.home.absolute())
    home.prepare()
    if not arguments.fingerprint:
        TrustStore(home).require_keys()
    release = bring_release(home, arguments.folder, arguments.fingerprint)
    if home.try_lock():
        options = AgentOptions(
            home.folder,
            host=arguments.serve[0],
            port=arguments.serve[1],
            watch_seconds=arguments.watch,
            is_provenance_required=arguments.require_provenance,
        )
        try:
            agent = build_agent(home, options, JsonLog(), is_offline=True)
            run_turns(agent, is_once=True)
        finally:
            home.unlock()
        outcome = agent.updater.outcome
        result = {} if outcome is None else vars(outcome)
    else:
        result = wait_for_outcome(home, release, arguments.wait)
    if result.get("result") == "running":
        print(f"deepseek: release {release[:12]} is installed")
        return DONE
    raise AgentFailure(
        str(result.get("code") or "not_installed"),
        str(result.get("message") or "The release was not installed."),
        field="FOLDER",
        value=str(arguments.folder),
        hint="The log of the agent says more.",
    )


def wait_for_outcome(home: Home, release: str, seconds: float) -> dict[str, object]:
    """How the update of a release ended in the agent that has the home folder."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        last = home.read_status().get("last_update")
        if isinstance(last, dict) and last.get("release") == release and not (home.incoming / release).exists():
            return last
        time.sleep(LOOK_SECONDS)
    return {"code": "not_finished", "message": f"The agent has not finished within {seconds:g} s; it goes on."}


def show_status(words: Sequence[str]) -> int:
    """Print what the agent last knew of itself."""
    arguments = build_status_parser().parse_args(words)
    home = Home(arguments.home)
    if not home.folder.is_dir():
        raise AgentError(
            "no_home",
            f"There is no home folder {home.folder}.",
            field="--home",
            value=str(home.folder),
            limit="the home folder of an agent",
            hint="Start one: deepseek agent --plane URL --enrol TOKEN --home DIR.",
        )
    is_running = not home.try_lock()
    home.unlock()
    document = {"agent": "running" if is_running else "stopped", **home.read_status()}
    if arguments.json:
        print(json.dumps(document, indent=1))
        return DONE
    for name, value in document.items():
        text = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):14}{'-' if text is None or text == '' else text}")
    sys.stdout.flush()
    return DONE
