"""The multi-layer perceptron of tables and series."""

from typing import cast

import torch
from torch import Tensor, nn

from deepseek.models.manifest import MlpArchitecture
from deepseek.models.trainable import Trainable

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


class MlpNetwork(Trainable):
    """A multi-layer perceptron on raw values: it standardises its inputs, and puts values back into their unit.

    The last inputs may be codes of categories: each is replaced by the vector of its code, and a code beyond the last
    counts as the last. The four buffers are part of the weights: mean and standard deviation of each input that is a
    number, shape (numbers,), and of each value that comes out, shape (outputs,); ones and zeros for classes. With
    `residual` the last input is the last value of a series: the layers see how far each other value lies from it, and
    their output is added to it.
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, architecture: MlpArchitecture) -> None:
        super().__init__()
        self.residual = architecture.residual
        self.probabilities = architecture.output == "probabilities"
        self.inputs, self.numbers = architecture.inputs, architecture.numbers
        self.register_buffer("input_mean", torch.zeros(self.numbers))
        self.register_buffer("input_scale", torch.ones(self.numbers))
        self.register_buffer("output_mean", torch.zeros(architecture.outputs))
        self.register_buffer("output_scale", torch.ones(architecture.outputs))
        self.embeddings = nn.ModuleList(nn.Embedding(shape.count, shape.width) for shape in architecture.embeddings)
        layers: list[nn.Module] = []
        width = self.numbers + sum(shape.width for shape in architecture.embeddings)
        for hidden in architecture.hidden:
            layers += [nn.Linear(width, hidden), ACTIVATIONS[architecture.activation]()]
            if architecture.dropout:
                layers.append(nn.Dropout(architecture.dropout))
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, architecture.outputs))

    def compute_logits(self, *inputs: Tensor) -> Tensor:
        """What the last layer gives for raw `features` of shape (n, F), as shape (n, outputs).

        For classes the logits; for a value its distance from `output_mean`, counted in `output_scale`.
        """
        (features,) = inputs
        if self.residual:
            features = features - features[:, -1:]
        if len(self.embeddings):
            result: Tensor = self.layers(self._embed(features))
        else:
            result = self.layers((features - self.input_mean) / self.input_scale)
        return result

    def _embed(self, features: Tensor) -> Tensor:
        """Standardised numbers (n, numbers), then the vectors of the codes, side by side."""
        parts = [(features[:, : self.numbers] - self.input_mean) / self.input_scale] if self.numbers else []
        for place, embedding in enumerate(self.embeddings, start=self.numbers):
            # Clamped as a number: no value, however large, may point outside of the vectors.
            last = float(cast(nn.Embedding, embedding).num_embeddings - 1)
            code = features[:, place].clamp(0.0, last).to(torch.int64)
            parts.append(embedding(code))
        return torch.cat(parts, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Raw `features` (n, F), float32, to class shares (n, C) or to values in the target's unit (n, 1)."""
        logits = self.compute_logits(features)
        if self.probabilities:
            return torch.softmax(logits, dim=1)
        values = logits * self.output_scale + self.output_mean
        return features[:, -1:] + values if self.residual else values
