"""Where a server goes on, and what its job reports."""

from __future__ import annotations

from deepseek.federated.network import initialize_weights
from deepseek.federated.server import (
    MAX_META_BYTES,
    STATE_NAME,
    compute_owner_digest,
    restore_state,
    shorten_document,
)
from deepseek.federated.state import ServerState, write_server_state
from deepseek.job import Silent
from tests.deepseek.federated.federation import Federation


def test_a_server_goes_on_after_the_last_round_that_is_kept_anywhere(build_study, tmp_path):
    first, again = (Federation(build_study(), tmp_path).spec for _ in range(2))  # sites of other keys
    owner, weights = compute_owner_digest(first), initialize_weights(first.study)
    inputs = {"home": tmp_path, "checkpoint": tmp_path / "stored"}
    checkpoint = tmp_path / "none"
    assert restore_state(first, inputs, checkpoint, Silent()).round == 0
    write_server_state(inputs["checkpoint"], owner, ServerState(1, weights))
    write_server_state(tmp_path / STATE_NAME, owner, ServerState(3, weights))  # the worker stores checkpoints later
    assert restore_state(first, inputs, checkpoint, Silent()).round == 3
    write_server_state(tmp_path / STATE_NAME, compute_owner_digest(again), ServerState(3, weights))
    assert restore_state(first, inputs, checkpoint, Silent()).round == 1


def test_a_long_history_does_not_go_over_the_size_of_an_event():
    document = {"sites": [], "rounds": [{"round": 1}]}
    assert shorten_document(document) == document
    long = {"sites": [], "rounds": ["x" * MAX_META_BYTES]}
    assert shorten_document(long) == {"sites": [], "rounds": []}
