"""Coordinate a study: the entry point of the server's job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.federated.board import Board
from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.errors import FederationError
from deepseek.federated.inspection import Update
from deepseek.federated.network import Weights, initialize_weights
from deepseek.federated.spec import FederationServerSpec, StudySpec, compute_study_digest
from deepseek.federated.state import (
    ServerState,
    read_outcome,
    read_server_state,
    replace_file,
    write_outcome,
    write_server_state,
)
from deepseek.federated.tunnel import open_way_in
from deepseek.federated.wire import compute_digest, decode_weights, encode_weights
from deepseek.job import JSON, Output, Report, Result, build_checkpoint_path, stage_outputs
from deepseek.messages import N_

MODEL_NAME, FEDERATION_NAME, ROUNDS_NAME = "model.safetensors", "federation.json", "rounds.json"
MODEL_TYPE, FEDERATION_TYPE = "application/vnd.safetensors", "application/json"
FORMAT = "plane/federation/v1"
HOME, WEIGHTS, CHECKPOINT = "home", "weights", "checkpoint"
STATE_NAME = "server.safetensors"
"""In the home folder. The worker stores checkpoints later, and none while its store is away; sites keep few updates."""
MAX_META_BYTES = 2**20
RESUME_SECONDS = 60.0
"""How long a study that goes on waits for sites beyond the fewest: their connections come back by themselves."""


def run(spec: FederationServerSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Run the rounds of the study with the sites that connect, and write the global weights and ``federation.json``.

    `inputs`: ``home`` is the folder with the server's credentials; ``weights`` may hold the weights to begin from,
    ``checkpoint`` those to go on from. After each round its outcome is in ``home`` and in a checkpoint beside `out`: a
    server that is started again goes on with the next one. Raises FederationError ``too_few_sites``, ``code_mismatch``,
    or for what is wrong with the inputs.
    """
    from deepseek.federated.transport import Handler, configure_nvflare, open_server_cell

    home = get_home(inputs)
    require_code(spec.study)
    checkpoint, digest = build_checkpoint_path(out), compute_study_digest(spec.study)
    owner = compute_owner_digest(spec)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    state = restore_state(spec, inputs, checkpoint, report)
    board = Board(spec, report)
    for each in state.history:
        board.note_round(each["round"], each["sites"])
    configure_nvflare(spec.study)
    handlers: dict[str, Handler] = {
        "join": board.join,
        "poll": board.poll,
        "update": board.submit,
        "skip": board.skip,
        "evaluation": board.evaluate,
        "leave": board.leave,
    }
    address = join_address("127.0.0.1" if open_way_in(f"127.0.0.1:{spec.port}") else spec.host, spec.port)
    cell = open_server_cell(home, address, study=spec.study, handlers=handlers)
    try:
        cell.set_cell_disconnected_cb(lambda agent: board.disconnect(agent.info.fqcn))
        is_resumed = state.round > 0
        report.progress(state.round, spec.study.rounds, "rounds", stage="join")
        patience = min(spec.join_seconds, RESUME_SECONDS) if is_resumed else spec.join_seconds
        if state.round < spec.study.rounds:
            board.await_sites(seconds=spec.join_seconds, all_seconds=patience)
            run_rounds(board, state, home, checkpoint, report)
        else:  # killed after its last round: the sites that are not done come back for the final weights
            board.restore_outcome(read_outcome(home, owner).get("sites", {}))
            with suppress(FederationError):
                board.await_sites(seconds=patience, all_seconds=patience)
        content = encode_weights(state.weights, {"study": digest, "round": str(state.round)})
        board.open_evaluation(state.round, compute_digest(content), content)
        report.progress(state.round, spec.study.rounds, "rounds", stage="evaluate")
        board.await_evaluations(spec.round_seconds)
        write_outcome(home, owner, {"sites": board.get_outcome()})
        board.linger()
        write_outcome(home, owner, {"sites": board.get_outcome()})
    finally:
        cell.stop()
    document = build_document(board, state, compute_digest(content))
    with stage_outputs(out) as stage:
        (stage / MODEL_NAME).write_bytes(content)
        (stage / FEDERATION_NAME).write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", "utf-8")
    checkpoint.unlink(missing_ok=True)
    outputs = (
        Output("model", MODEL_NAME, MODEL_TYPE, {"study": digest, "rounds": state.round}),
        Output("federation", FEDERATION_NAME, FEDERATION_TYPE, shorten_document(document)),
    )
    return Result(outputs, summarize(document))


def shorten_document(document: dict[str, Any]) -> dict[str, Any]:
    """The document as the job reports it: without its rounds where they take more than an event of a job may. The file
    has them all."""
    if len(json.dumps(document)) <= MAX_META_BYTES:
        return document
    return document | {"rounds": []}


def run_rounds(board: Board, state: ServerState, home: Path, checkpoint: Path, report: Report) -> None:
    """All rounds that are left, by NVFlare's controller; `state` is brought up to date after each."""
    from deepseek.federated.aggregation import StudyController

    owner = compute_owner_digest(board.spec)

    def save(round: int, weights: Weights, updates: dict[str, Update]) -> None:
        state.round, state.weights = round, weights
        state.history.append(describe_round(board, round, updates))
        for path in (home / STATE_NAME, checkpoint):
            write_server_state(path, owner, state)
        replace_file(home / ROUNDS_NAME, json.dumps(state.history, allow_nan=False).encode())
        report.checkpoint(checkpoint, round)
        report.metric("sites", len(updates), round)
        for update in updates.values():
            report.metric(f"norm/{update.site}", update.norm, round)
            if update.epsilon is not None:
                report.metric(f"epsilon/{update.site}", update.epsilon, round)
        report.progress(round, board.study.rounds, "rounds", stage="train")

    StudyController(board, state.weights, first_round=state.round + 1, save=save).run()


def restore_state(
    spec: FederationServerSpec, inputs: Mapping[str, Path], checkpoint: Path, report: Report
) -> ServerState:
    """The state after the last round that is kept anywhere, of this study and its sites; else that before the first."""
    initial, owner = initialize_weights(spec.study), compute_owner_digest(spec)
    if WEIGHTS in inputs:
        initial = decode_weights(inputs[WEIGHTS].read_bytes(), initial)
    candidates = [inputs[CHECKPOINT]] if CHECKPOINT in inputs else []
    paths = (*candidates, checkpoint, inputs[HOME] / STATE_NAME)
    states = [read_server_state(path, owner, initial) for path in paths]
    state = max((each for each in states if each is not None), key=lambda each: each.round, default=None)
    if state is None:
        return ServerState(0, initial)
    report.log(f"goes on after round {state.round}")
    return state


def compute_owner_digest(spec: FederationServerSpec) -> str:
    """Whose a state is: the study's with these keys of its sites. One that is made anew, on a plane that was restored
    from before it, has the same document and begins with its first round."""
    keys = [f"{site.name} {site.public_key}" for site in spec.sites]
    return compute_digest("\n".join([compute_study_digest(spec.study), *sorted(keys)]).encode())


def describe_round(board: Board, round: int, updates: Mapping[str, Update]) -> dict[str, Any]:
    """What is kept of a round: who took part, who did not, what was refused, what was spent."""
    return {
        "round": round,
        "sites": sorted(updates),
        "missing": sorted(set(board.get_sites()) - set(updates)),
        "refused": board.take_refusals(round),
        "updates": {name: update.digest for name, update in updates.items()},
        "norm": {name: update.norm for name, update in updates.items()},
        "epsilon": {name: update.epsilon for name, update in updates.items()},
    }


def build_document(board: Board, state: ServerState, model_digest: str) -> dict[str, Any]:
    """``federation.json``: sites, rounds, budgets and figures, and nothing of any row."""
    study = board.study
    epsilon = {name: value for each in state.history for name, value in each["epsilon"].items()}
    counts = [name for each in state.history for name in each["sites"]]
    sites = [
        {
            "name": name,
            "public_key": status.site.public_key,
            "updates": counts.count(name),
            "epsilon": epsilon.get(name),
            "left": status.left,
            "refused": len(status.refusals),
            "metrics": status.evaluation,
        }
        for name, status in board.get_sites().items()
    ]
    return {
        "format": FORMAT,
        "study": board.digest,
        "name": study.name,
        "code_digest": study.code_digest,
        "algorithm": study.algorithm,
        "aggregation": study.aggregation,
        "privacy": study.privacy.model_dump() if study.privacy else None,
        "model_digest": model_digest,
        "parameters": study.parameters,
        "rounds": state.history,
        "sites": sites,
    }


def summarize(document: Mapping[str, Any]) -> dict[str, JSON]:
    sites = document["sites"]
    spent = [site["epsilon"] for site in sites if site["epsilon"] is not None]
    summary: dict[str, JSON] = {"rounds": len(document["rounds"]), "sites": sum(site["updates"] > 0 for site in sites)}
    return summary | ({"epsilon": max(spent)} if spent else {})


def get_home(inputs: Mapping[str, Path]) -> Path:
    """The folder with credentials. Raises FederationError ``home_missing``."""
    home = inputs.get(HOME)
    if home is None or not home.is_dir():
        raise FederationError(
            "home_missing",
            N_("The folder with the credentials of the study is not there."),
            field="inputs/home",
            value=str(home),
            limit="a folder",
            hint=N_("Create the study's keys, or import its invitation, on the machine that runs the job."),
        )
    return home


def require_code(study: StudySpec) -> None:
    """Raise FederationError ``code_mismatch`` unless this machine has the code that was approved."""
    ours = compute_study_code_digest()
    if ours != study.code_digest:
        raise FederationError(
            "code_mismatch",
            N_("The code on this machine is not the code of the study."),
            field="/study/code_digest",
            value=study.code_digest,
            limit=ours,
            hint=N_("Install the release that the study was made with, or have it made anew and approved again."),
        )


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
