"""Differential privacy: the budget is shown, kept and never passed, and where it cannot be shown nothing leaves."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from deepseek.federated import board as boards
from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.errors import FederationError
from deepseek.federated.network import initialize_weights, measure_change
from deepseek.federated.privacy import compute_epsilon, compute_merged_epsilon, plan_noise
from deepseek.federated.self_test import run_self_test
from deepseek.federated.spec import StudySpec
from deepseek.federated.training import train_round
from tests.deepseek.federated.conftest import build_study_document
from tests.deepseek.federated.federation import Federation, build_rows

BUDGET = {"epsilon": 3.0, "delta": 1e-3}
ROWS = 80


@pytest.fixture
def study(build_study):
    return build_study(rounds=2, privacy=BUDGET, code_digest=compute_study_code_digest())


@pytest.fixture(scope="module")
def plan():
    """Of `study`, for a site of ROWS rows; to make one takes a second."""
    return plan_noise(StudySpec.model_validate(build_study_document(rounds=2, privacy=BUDGET)), ROWS)


@pytest.fixture
def train(study, plan):
    """train(round, history) -> the outcome of one round."""

    def train_once(round=1, history=()):
        rows, base = build_rows(study, ROWS, 1), initialize_weights(study)
        return train_round(study, rows, base, round=round, plan=plan, history=history)

    return train_once


def test_epsilon_grows_and_ends_at_the_budget(train):
    first = train()
    second = train(round=2, history=first.history)
    assert 0 < first.epsilon < second.epsilon <= 3.0
    assert second.epsilon > 2.8
    with pytest.raises(FederationError) as caught:
        train(round=3, history=second.history)
    assert (caught.value.code, caught.value.limit) == ("privacy_budget_spent", "3")


def test_the_same_rows_give_other_weights_each_time(train):
    """The noise is in no seed that the coordinator knows."""
    assert measure_change(train().weights, train().weights)[0] > 0


@pytest.mark.parametrize("model", [{"kind": "logistic"}, {"kind": "mlp", "hidden": [8], "normalization": "group"}])
def test_the_self_test_passes_here(build_study, plan, model):
    run_self_test(build_study(model=model), None)
    run_self_test(build_study(model=model, privacy=BUDGET), plan)


def break_noise(monkeypatch):
    import torch
    from opacus.optimizers import optimizer

    monkeypatch.setattr(optimizer, "_generate_noise", lambda std, reference, **_: torch.zeros_like(reference))


def break_accountant(monkeypatch):
    from opacus.accountants import RDPAccountant

    monkeypatch.setattr(RDPAccountant, "get_epsilon", lambda *_, **__: float("nan"))


def stop_counting(monkeypatch):
    from opacus.accountants import RDPAccountant

    monkeypatch.setattr(RDPAccountant, "step", lambda *_, **__: None)


def remove_opacus(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "opacus"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)


def freeze_weights(monkeypatch):
    import torch

    monkeypatch.setattr(torch.optim.SGD, "step", lambda *_, **__: None)


@pytest.mark.parametrize("damage", [break_noise, break_accountant, stop_counting, remove_opacus])
def test_without_noise_or_accountant_nothing_is_made(study, plan, train, monkeypatch, damage):
    compute_merged_epsilon.cache_clear()
    damage(monkeypatch)
    with pytest.raises(FederationError, match="nothing leaves"):
        train()
    with pytest.raises(FederationError):
        run_self_test(study, plan)


def test_the_self_test_finds_a_training_that_trains_nothing(build_study, monkeypatch):
    freeze_weights(monkeypatch)
    with pytest.raises(FederationError, match="training changes the weights"):
        run_self_test(build_study(), None)


def test_a_budget_that_a_site_cannot_meet_is_refused(build_study):
    with pytest.raises(FederationError, match="privacy budget"):
        plan_noise(build_study(privacy={"epsilon": 1.0, "delta": 0.05}), ROWS)
    with pytest.raises(FederationError, match="privacy budget"):
        plan_noise(build_study(rounds=100, privacy={"epsilon": 1e-6, "delta": 1e-9}), ROWS)
    study = build_study(privacy=BUDGET)
    with pytest.raises(ValueError, match="plan"):
        train_round(study, build_rows(study, ROWS, 1), initialize_weights(study), round=1)


def test_a_site_stops_at_its_budget_and_says_so(study, tmp_path, monkeypatch):
    """A site that has spent more than it should leaves; its ledger and the server both know why."""
    monkeypatch.setattr(boards, "POLL_SECONDS", 0.01)
    federation = Federation(study, tmp_path)
    start = federation.build_part

    def spend(site, **options):
        part = start(site, **options)
        if site == "west":
            part.state.history = [(part.plan.noise_multiplier, part.plan.sample_rate, 3 * part.plan.steps_per_round)]
        return part

    federation.build_part = spend
    for site in federation.signers:
        federation.start_site(site)
    weights = federation.run()
    assert federation.errors == {}
    assert federation.board.get_sites()["west"].left == "privacy_budget_spent"
    assert [each["sites"] for each in federation.state.history] == [["north", "south"]] * 2
    epsilon = federation.state.history[1]["epsilon"]
    assert epsilon["north"] == pytest.approx(compute_epsilon(federation.parts["north"].state.history, 1e-3))
    assert federation.board.get_sites()["north"].evaluation["local"] is None
    kinds = [(entry.kind, entry.reason) for entry in federation.parts["west"].ledger.entries]
    assert kinds == [("join", ""), ("refused", "privacy_budget_spent"), ("leave", "")]
    assert np.isfinite(weights["0.weight"]).all()
