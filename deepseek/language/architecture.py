"""The networks of transformers that this capability takes, and how files name their tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

ARCHITECTURES = {"deepseek_v3": "DeepseekV3ForCausalLM", "deepseek_v4": "DeepseekV4ForCausalLM"}
"""Model type -> the one class of it."""
ATTENTION = {
    "deepseek_v3": "q_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj",
    "deepseek_v4": "q_a_proj|q_b_proj|kv_proj|o_b_proj",
}
"""Model type -> the linear layers of the attention that get an adapter."""
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
"""The experts' matrices: parameters of three dimensions, the first being the expert."""
_EXPERT = re.compile(r"\.experts\.(\d+)\.")


@dataclass(frozen=True)
class Target:
    """Where a tensor of a file belongs: a parameter, or the part of one expert in it.

    `part` of `parts`: matrices that lie one above the other in the parameter, as gate and up do.
    """

    name: str
    expert: int | None = None
    part: int = 0
    parts: int = 1

    def select(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of this part of a parameter of that shape."""
        return shape if self.expert is None else (shape[1] // self.parts, *shape[2:])


def build_config(config: Mapping[str, Any]) -> Any:
    """The configuration as transformers has it. Raises ValueError or TypeError for one that it does not take."""
    from transformers import AutoConfig

    values = {name: value for name, value in config.items() if name not in ("model_type", "transformers_version")}
    return AutoConfig.for_model(config["model_type"], **values)


def build_empty_model(config: Any) -> Any:
    """The network without numbers, which takes no memory whatever sizes a configuration names."""
    import transformers

    with torch.device("meta"):
        return getattr(transformers, ARCHITECTURES[config.model_type])(config)


class NameMap:
    """From the names in files to parameters, as transformers maps them when it loads."""

    def __init__(self, model: Any) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        mapping = get_model_conversion_mapping(model)
        self.renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        self.converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        self.state = model.state_dict()
        self.prefix = model.base_model_prefix

    def find(self, name: str) -> Target:
        """Where the tensor of this name belongs; the parameter may not exist."""
        from transformers.core_model_loading import rename_source_key

        target, pattern = rename_source_key(name, self.renamings, self.converters, self.prefix, self.state)
        if target not in self.state and name in self.state:  # a name that only looks like one to be changed
            target, pattern = name, None
        if pattern is None:
            return Target(target)
        patterns = next(list(c.source_patterns) for c in self.converters if pattern in c.source_patterns)
        expert = _EXPERT.search(name)
        return Target(target, int(expert[1]) if expert else None, patterns.index(pattern), len(patterns))


def build_lora_config(model_type: str, rank: int, alpha: int, *, experts: bool) -> Any:
    """The adapters as peft describes them; without dropout, which adapters of experts do not have."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=rf".*\.self_attn\.({ATTENTION[model_type]})",
        target_parameters=list(EXPERTS) if experts else None,
        task_type="CAUSAL_LM",
    )


@dataclass(frozen=True)
class AdapterLayer:
    """One pair of low-rank matrices: `module`, whose two matrices it is; `target`, the parameter they change."""

    module: str
    target: str
    experts: int  # 1: the matrix of a linear layer


def list_adapter_layers(model: nn.Module) -> list[AdapterLayer]:
    """The adapters in a network that peft has put some into."""
    layers = []
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        parameter = getattr(module, "parameter_name", None)
        if parameter is None:
            layers.append(AdapterLayer(name, f"{name}.weight", 1))
        else:
            while name.endswith(".base_layer"):
                name = name.removesuffix(".base_layer")
            path = next(key for key, value in model.named_modules() if value is module)
            layers.append(AdapterLayer(path, f"{name}.{parameter}", int(cast(Any, module).num_experts)))
    return layers
