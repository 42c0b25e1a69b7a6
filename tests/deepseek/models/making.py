"""A small model folder, made without training: model.json, model.safetensors and heldout.safetensors."""

import numpy as np
import torch

from deepseek.models.heldout import HELDOUT_NAME, Heldout, write_heldout
from deepseek.models.manifest import MlpArchitecture
from deepseek.models.network import build_network, save_network


def make_model(folder, *, task="forecast", inputs=5, hidden=(8,), classes=(), rows=60, seed=0, **architecture):
    """Write the three files into `folder` and return the manifest. `classes` names them for a classification."""
    if task == "classification" and not classes:
        classes = ("no", "yes")
    form = MlpArchitecture(
        inputs=inputs,
        hidden=list(hidden),
        outputs=len(classes) or 1,
        activation=architecture.pop("activation", "relu"),
        output="probabilities" if classes else "value",
        residual=task == "forecast",
        **architecture,
    )
    draw = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(form)
    network.input_mean += torch.from_numpy(draw.normal(size=inputs).astype(np.float32))
    features = draw.normal(1, 2, size=(rows, inputs)).astype(np.float32)
    target = draw.integers(0, len(classes), rows) if classes else draw.normal(size=rows).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    write_heldout(Heldout(features, target), folder / HELDOUT_NAME)
    return save_network(
        network,
        folder,
        architecture=form,
        task=task,
        target="y",
        features=[f"x{i}" for i in range(inputs)],
        classes=list(classes),
        inputs={"table": "0" * 64},
        spec={},
    )
