import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepseek.evaluate import auc
from deepseek.models.evaluate import assign_blocks, draw_blocks


def rows(count, seed=0):
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    return random.normal(positive * 0.7, 1.0), positive


def test_blocks_of_many_rows_as_scikit_learn_weighs_them():
    scores, positive = rows(9_000)
    blocks = assign_blocks("classification", 9_000, 0, 1)
    draws = draw_blocks(int(blocks.max()) + 1, 0, 3).astype(float)
    wanted = [roc_auc_score(positive, scores, sample_weight=draw[blocks]) for draw in draws]
    assert auc.compute_auc(scores, positive, blocks, draws) == pytest.approx(wanted)


def test_on_levels_the_value_is_exact_and_the_draws_are_close(monkeypatch):
    scores, positive = rows(5_000)
    blocks = assign_blocks("classification", 5_000, 0, 1)
    draws = draw_blocks(int(blocks.max()) + 1, 0, 200).astype(float)
    exact = auc.compute_auc(scores, positive, blocks, draws)
    monkeypatch.setattr(auc, "MOST_ROWS", 100)
    once = np.ones((1, draws.shape[1]))
    assert auc.compute_auc(scores, positive, blocks, once)[0] == pytest.approx(roc_auc_score(positive, scores))
    assert np.abs(auc.compute_auc(scores, positive, blocks, draws) - exact).max() < 1e-4


def test_one_kind_of_rows_has_no_area():
    assert np.isnan(auc.compute_auc(np.arange(3.0), np.ones(3, bool), np.arange(3), np.ones((1, 3)))).all()
