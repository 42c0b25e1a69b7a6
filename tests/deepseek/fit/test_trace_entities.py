"""The closed form of the memory of a tagger of tokens is what one traced step of it keeps."""

import itertools

import torch

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.run import build_architecture
from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.tokens import COLUMNS
from deepseek.fit.entities import build_entities_facts, compute_tagger_cost
from deepseek.fit.memory import DataFacts
from deepseek.fit.trace import trace_step

TEXTS, LENGTH, WORDS = 4, 50, 300


def build(spec):
    def make():
        network = EntitiesNetwork(build_architecture(spec, WORDS))
        network.saves_activations = spec.activation_checkpointing
        return network, [torch.zeros(TEXTS, LENGTH, COLUMNS, dtype=torch.int64)]

    return make


def test_what_autograd_keeps_is_counted_to_the_byte():
    wrong = {}
    for dropout, token_dropout, checkpointing in itertools.product((0.0, 0.1), (0.0, 0.2), (False, True)):
        spec = EntitiesSpec(
            width=64,
            layers=3,
            heads=4,
            dropout=dropout,
            token_dropout=token_dropout,
            activation_checkpointing=checkpointing,
        )
        trace = trace_step(build(spec))
        cost = compute_tagger_cost(spec, WORDS, LENGTH, half=False)
        kept = TEXTS * cost.kept + cost.kept_once
        peak = kept + TEXTS * (cost.working - 8 * LENGTH * COLUMNS)  # the tokens are the trace's own
        case = (dropout, token_dropout, checkpointing)
        if (cost.parameters, cost.buffers) != (trace.parameters, trace.buffers):
            wrong[*case, "weights"] = (cost, trace)
        if not checkpointing and kept != trace.kept:
            wrong[case] = (kept, trace.kept)
        if not 0.95 < peak / trace.peak < 1.25:
            wrong[*case, "peak"] = (peak, trace.peak)
    assert wrong == {}


def test_tokens_follow_from_what_is_known_of_the_texts():
    spec = EntitiesSpec(max_length=128)
    short, unknown = DataFacts(rows=1000, file_bytes=50_000), DataFacts()
    counted = DataFacts(rows=1000, file_bytes=50_000, tokens=9000, longest=20, words=400)
    costs = [build_entities_facts(spec, facts, on_gpu=True) for facts in (counted, short, unknown)]
    assert [facts.cost.kept for facts in costs] == [
        compute_tagger_cost(spec, 400, length, half=True).kept for length in (20, 40, 128)
    ]
    assert costs[0].data < costs[1].data
