"""The closed form of a language model's memory against its network on the meta device and one traced step of it."""

import pytest
import torch

transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

from deepseek.fit.architectures import read_architecture  # noqa: E402
from deepseek.fit.families import estimate_memory  # noqa: E402
from deepseek.fit.language import Precision, compute_language_cost  # noqa: E402
from deepseek.fit.memory import DataFacts  # noqa: E402
from deepseek.fit.trace import trace_step  # noqa: E402
from deepseek.language.architecture import build_config, build_empty_model, build_lora_config  # noqa: E402
from deepseek.language.network import INDEXER, LanguageNetwork, add_adapters  # noqa: E402
from deepseek.language.spec import LanguageSpec  # noqa: E402
from tests.deepseek.language.tiny import SMALL, V3, V4  # noqa: E402

TEXTS, LENGTH = 3, 48
V3_CONFIG = {"model_type": "deepseek_v3", **SMALL, **V3, "v_head_dim": 16, "vocab_size": 400, "num_hidden_layers": 3}
V4_CONFIG = {"model_type": "deepseek_v4", **SMALL, **V4, "vocab_size": 400}
FLOAT = Precision(weight=4, passing=4, cast=False)


def build(config, spec):
    """The network on the meta device, where peft can change it; the trace has its tensors taken for real ones."""
    network = build_model(config, spec)
    if spec.activation_checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def make():
        tokens = torch.zeros(TEXTS, LENGTH, dtype=torch.int64)
        network._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
        return LanguageNetwork(network), [tokens, torch.arange(TEXTS * LENGTH)]

    return make


def build_model(config, spec):
    network, kind = build_empty_model(build_config(config)), config["model_type"]
    if spec.method == "lora":
        with torch.device("meta"):
            add_adapters(network, build_lora_config(kind, spec.lora.rank, spec.lora.alpha, experts=spec.lora.experts))
    return network


def compute_loss(logits):
    return torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))


@pytest.mark.parametrize("config", [V3_CONFIG, V4_CONFIG], ids=["v3", "v4"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_weights_are_those_of_the_network(config, method):
    spec = LanguageSpec(method=method)
    network = build_model(config, spec)
    fixed = method == "full"
    trained = sum(p.nbytes for n, p in network.named_parameters() if p.requires_grad and not (fixed and INDEXER in n))
    cost = compute_language_cost(read_architecture(config), spec, LENGTH, FLOAT)
    assert (cost.parameters, cost.trainable) == (sum(p.nbytes for p in network.parameters()), trained)


def test_what_a_step_keeps_is_counted(monkeypatch):
    """Products of experts in float32 are computed one by one in a trace: the meta device takes bf16 alone."""
    monkeypatch.setattr(transformers.integrations.moe, "_can_use_grouped_mm", lambda *tensors: False)
    modeling = transformers.models.deepseek_v3.modeling_deepseek_v3
    monkeypatch.setattr(modeling, "create_causal_mask", lambda **given: None)  # of real tensors there is none either
    wrong = {}
    for method in ("full", "lora"):
        for checkpointing in (False, True):
            spec = LanguageSpec(method=method, activation_checkpointing=checkpointing)
            trace = trace_step(build(V3_CONFIG, spec), loss=compute_loss)
            cost = compute_language_cost(read_architecture(V3_CONFIG), spec, LENGTH, FLOAT)
            kept = TEXTS * cost.kept + cost.kept_once
            peak = kept + TEXTS * cost.working + cost.working_once
            if not checkpointing and not 0.97 < kept / trace.kept < 1.03:
                wrong[method, "kept"] = (kept, trace.kept)
            if not 0.85 < peak / trace.peak < 1.15:
                wrong[method, checkpointing, "peak"] = (peak, trace.peak)
    assert wrong == {}


def test_what_a_step_of_v4_keeps_is_counted_within_a_seventh():
    """Of real tensors: its attention chooses by their values."""
    network = LanguageNetwork(transformers.DeepseekV4ForCausalLM(build_config(V4_CONFIG)).train())
    inputs = torch.zeros(TEXTS, LENGTH, dtype=torch.int64), torch.arange(TEXTS * LENGTH)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = compute_loss(network.compute_logits(*inputs))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers(), *inputs)}
    total = sum(storage.nbytes() for place, storage in kept.items() if place not in own)
    cost = compute_language_cost(read_architecture(V4_CONFIG), LanguageSpec(method="full"), LENGTH, FLOAT)
    assert (TEXTS * cost.kept + cost.kept_once) / total == pytest.approx(1, abs=1 / 7)
    assert loss.isfinite()


def estimate(nodes=1, gpus=0, config=V3_CONFIG, **more):
    facts = DataFacts(rows=100, file_bytes=40_000, base=config, base_bytes=10**9)
    return estimate_memory("train_language", LanguageSpec(**more), facts, nodes=nodes, gpus=gpus)


def test_shared_out_weights_are_divided_by_the_ranks_of_all_nodes():
    alone, shared = estimate(method="full"), estimate(method="full", strategy="fsdp", processes=2, nodes=2)
    whole = alone.host
    for name, part in (
        ("parameters", whole.parameters),
        ("gradients", whole.gradients),
        ("optimizer", whole.optimizer),
    ):
        assert getattr(shared.host, name) == pytest.approx(part / 2, rel=0.01), name  # two of four ranks
    assert shared.host.copies > whole.parameters  # the first rank has them whole to write them


def test_adapters_need_no_gradients_of_the_base_and_half_of_its_bytes_on_a_gpu():
    full, adapters = estimate(method="full"), estimate(method="lora", lora={"rank": 2})
    assert adapters.host.gradients < full.host.gradients / 5
    assert estimate(method="lora", lora={"rank": 2}, gpus=1).gpu.parameters < 0.6 * adapters.host.parameters


def test_what_is_not_known_of_a_base_is_said():
    wrong = {}
    unknown = ({}, {"model_type": "llama"}, {**V3_CONFIG, "hidden_size": -1}, {**V3_CONFIG, "vocab_size": "many"})
    v4 = ({"layer_types": 3}, {"compress_ratios": [5], "layer_types": None}, {"num_hidden_layers": 10**6})
    for config in (*unknown, {"model_type": []}, *({**V4_CONFIG, **more} for more in v4)):
        if read_architecture(config) is not None:
            wrong[str(config)] = read_architecture(config)
    assert wrong == {}
    assert estimate(config=None, method="full").host.parameters == 2 * 10**9  # of 16 bits, in 32
    assert estimate_memory("train_language", LanguageSpec(), DataFacts()) is None
