"""How well a model continues held-out texts, text by text, and what it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deepseek.language.learner import build_batch
from deepseek.language.network import LanguageNetwork
from deepseek.language.texts import Text
from deepseek.models.figures import Metric

Floats = npt.NDArray[np.float64]
REPLICATES = 1000
CONFIDENCE = 0.95
_CHUNK = 8  # texts computed at once


@dataclass(frozen=True)
class TextLosses:
    """Of each held-out text: the sum of its tokens' losses, how many are predicted right, and how many there are."""

    losses: Floats
    hits: Floats
    tokens: Floats


@torch.no_grad()
def measure_texts(network: LanguageNetwork, texts: Sequence[Text], device: torch.device) -> TextLosses:
    """The losses in nats of each text's targets. The network is in its mode for predicting."""
    network.eval()
    losses, hits = [], []
    for start in range(0, len(texts), _CHUNK):
        chunk = list(texts[start : start + _CHUNK])
        tokens, places, labels = build_batch(chunk, device)
        logits = network.compute_logits(tokens, places).float()
        each = nn.functional.cross_entropy(logits, labels, reduction="none").double().cpu()
        right = (logits.argmax(dim=-1) == labels).double().cpu()
        ends = np.cumsum([text.count for text in chunk])[:-1]
        losses += [float(part.sum()) for part in np.split(each.numpy(), ends)]
        hits += [float(part.sum()) for part in np.split(right.numpy(), ends)]
    return TextLosses(np.array(losses), np.array(hits), np.array([text.count for text in texts], dtype=np.float64))


def compute_perplexity(losses: Floats, tokens: Floats) -> Floats:
    """exp(mean loss of a token), of the last axis."""
    return np.asarray(np.exp(np.minimum(losses.sum(axis=-1) / tokens.sum(axis=-1), 700.0)))


def compute_token_accuracy(hits: Floats, tokens: Floats) -> Floats:
    """The share of tokens predicted right, of the last axis."""
    return np.asarray(hits.sum(axis=-1) / tokens.sum(axis=-1))


def list_metrics(measured: TextLosses, seed: int) -> list[Metric]:
    """Perplexity and token accuracy, with bootstrap intervals over texts."""
    return [
        build_metric(name, better, of(values, measured.tokens), draw(of, values, measured.tokens, seed), "bootstrap")
        for name, better, values, of in list_measures(measured)
    ]


def list_differences(measured: TextLosses, reference: TextLosses, seed: int) -> list[Metric]:
    """The metrics of `measured` less those of `reference`, each replicate drawing the same texts for both."""
    metrics = []
    pairs = zip(list_measures(measured), list_measures(reference), strict=True)
    for (name, better, values, of), (_, _, reference_values, _) in pairs:
        tokens = measured.tokens
        value = of(values, tokens) - of(reference_values, tokens)
        differences = draw(of, values, tokens, seed) - draw(of, reference_values, tokens, seed)
        metrics.append(build_metric(name, better, value, differences, "paired bootstrap"))
    return metrics


Measure = Callable[[Floats, Floats], Floats]


def list_measures(measured: TextLosses) -> list[tuple[str, Any, Floats, Measure]]:
    return [
        ("perplexity", "lower", measured.losses, compute_perplexity),
        ("token_accuracy", "higher", measured.hits, compute_token_accuracy),
    ]


def draw(of: Measure, values: Floats, tokens: Floats, seed: int) -> Floats:
    """The measure of each replicate: as many texts, drawn with replacement."""
    random = np.random.default_rng((seed, 7))
    rows = random.integers(len(tokens), size=(REPLICATES, len(tokens)))
    return of(values[rows], tokens[rows])


def build_metric(name: str, better: Any, value: Any, drawn: Floats, method: str) -> Metric:
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Metric(
        name=name,
        value=float(value),
        low=float(low),
        high=float(high),
        confidence=CONFIDENCE,
        method=method,
        better=better,
    )


@torch.no_grad()
def answer_prompts(network: LanguageNetwork, tokenizer: Any, prompts: Sequence[list[int]], limit: int) -> list[str]:
    """The most likely continuation of each prompt, token by token, of at most `limit` tokens."""
    causal = network.causal.eval()
    device = next(causal.parameters()).device
    answers = []
    for prompt in prompts:
        room = causal.config.max_position_embeddings - len(prompt)
        if room < 1:
            answers.append("")
            continue
        tokens = torch.tensor([prompt], dtype=torch.int64, device=device)
        generated = causal.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            max_new_tokens=min(limit, room),
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        answers.append(str(tokenizer.decode(generated[0, len(prompt) :], skip_special_tokens=True)).strip())
    return answers


def encode_prompt(prompt: "str | list[dict[str, str]]", tokenizer: Any, template: str | None) -> list[int]:
    """The tokens that an answer follows."""
    if isinstance(prompt, str):
        begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        return [*begin, *tokenizer.encode(prompt, add_special_tokens=False)]
    text = tokenizer.apply_chat_template(
        prompt, tokenize=False, chat_template=template or tokenizer.chat_template, add_generation_prompt=True
    )
    return [int(token) for token in tokenizer.encode(text, add_special_tokens=False)]
