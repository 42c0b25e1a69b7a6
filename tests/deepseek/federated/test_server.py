"""Where a server goes on, and what its job reports."""

from __future__ import annotations

from deepseek.federated.network import initialize_weights
from deepseek.federated.server import MAX_META_BYTES, STATE_NAME, restore_state, shorten_document
from deepseek.federated.spec import compute_study_digest
from deepseek.federated.state import ServerState, write_server_state
from deepseek.job import Silent


def test_a_server_goes_on_after_the_last_round_that_is_kept_anywhere(build_study, tmp_path):
    study = build_study()
    digest, weights = compute_study_digest(study), initialize_weights(study)
    inputs = {"home": tmp_path, "checkpoint": tmp_path / "stored"}
    checkpoint = tmp_path / "none"
    assert restore_state(study, inputs, checkpoint, Silent()).round == 0
    write_server_state(inputs["checkpoint"], digest, ServerState(1, weights))
    write_server_state(tmp_path / STATE_NAME, digest, ServerState(3, weights))  # the worker stores checkpoints later
    assert restore_state(study, inputs, checkpoint, Silent()).round == 3
    write_server_state(tmp_path / STATE_NAME, "0" * 64, ServerState(3, weights))  # of another study
    assert restore_state(study, inputs, checkpoint, Silent()).round == 1


def test_a_long_history_does_not_go_over_the_size_of_an_event():
    document = {"sites": [], "rounds": [{"round": 1}]}
    assert shorten_document(document) == document
    long = {"sites": [], "rounds": ["x" * MAX_META_BYTES]}
    assert shorten_document(long) == {"sites": [], "rounds": []}
