"""Language models: the row language of families.py, and speed and memory where a GPU is.

Run: python benchmarks/families_language.py [--version 3] [--epochs 8] [--no-gpu]

A DeepSeek model with random weights learns the sentences of docs/*.md, each a prompt (its first words) and a
completion (the rest); its tokenizer is trained on them too. Perplexity on held-out completions stands against the base
before training and against a unigram: the shares of tokens in the training completions, smoothed by one.

On a GPU besides: a model of about the card's size takes steps in fp32 and in mixed precision. MFU counts 6 operations
for each active weight and token, over the card's peak in bf16 without sparsity (--peak, in TFLOPS).
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from deepseek.job import Silent
from deepseek.language.errors import require_packages

require_packages()

DOCS = Path(__file__).resolve().parents[1] / "docs"
PROMPT_WORDS, MOST_WORDS, VOCABULARY = 4, 40, 2000
SPECIAL = ["<pad>", "<bos>", "<eos>"]
WIDTHS = {
    "hidden_size": 128,
    "moe_intermediate_size": 64,
    "num_attention_heads": 4,
    "q_lora_rank": 32,
    "n_shared_experts": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
V3 = {
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 32,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
V4 = {
    "num_hidden_layers": 4,
    "head_dim": 32,
    "o_groups": 2,
    "o_lora_rank": 32,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "sliding_window": 64,
    "hc_mult": 2,
}


class Clock(Silent):
    """Keeps the last metrics, the moment of the first step, and that of the measuring after the last."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.begun, self.ended = 0.0, 0.0

    def metric(self, name: str, value: float, step: int = 0) -> None:
        self.metrics[name] = value

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        if stage == "train":
            self.ended = time.perf_counter()
            self.begun = self.begun or self.ended

    def log(self, text: str, *, level: str = "info") -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


def list_sentences() -> list[str]:
    """Sentences of the documents: of prose, not of tables and code."""
    sentences = []
    for path in sorted(DOCS.glob("*.md")):
        for block in path.read_text("utf-8").split("\n\n"):
            if not block.startswith(("|", "```", "    ", "#", "-", "<")):
                sentences += [text.strip() for text in block.replace("\n", " ").split(". ")]
    return [text for text in sentences if PROMPT_WORDS + 2 < len(text.split()) < MOST_WORDS]


def write_base(folder: Path, sentences: list[str], version: int) -> Any:
    """The folder of a random model; returns its tokenizer."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(sentences, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    values = {**WIDTHS, **(V3 if version == 3 else V4), "vocab_size": len(tokenizer)}
    config = getattr(transformers, f"DeepseekV{version}Config")(**values)
    torch.manual_seed(0)
    getattr(transformers, f"DeepseekV{version}ForCausalLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def measure_unigram(tokenizer: Any, learned: list[str], held_out: list[str]) -> float:
    """The perplexity of held-out completions under the shares of tokens in the others."""
    counts = np.ones(len(tokenizer))
    for text in learned:
        np.add.at(counts, [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id], 1)
    shares = np.log(counts / counts.sum())
    losses = [shares[[*tokenizer.encode(t, add_special_tokens=False), tokenizer.eos_token_id]] for t in held_out]
    return float(np.exp(-np.concatenate(losses).mean()))


def measure_language(folder: Path, version: int, epochs: int) -> None:
    from deepseek.language.run import run
    from deepseek.language.spec import LanguageSpec

    sentences = list_sentences()
    words = [text.split() for text in sentences]
    records = [{"prompt": " ".join(w[:PROMPT_WORDS]), "completion": " " + " ".join(w[PROMPT_WORDS:])} for w in words]
    tokenizer = write_base(folder / "base", sentences, version)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(record) + "\n" for record in records))
    schedule = {"warmup_steps": 30, "init_lr": 1e-4, "max_lr": 3e-3, "first_batch": 32, "last_batch": 64}
    spec = LanguageSpec(method="full", epochs=epochs, patience=0, samples=0, micro_batch=32, schedule=schedule)
    clock = Clock()
    result = run(spec, inputs={"base": folder / "base", "texts": texts}, out=folder / "out", report=clock)
    figures = json.loads((folder / "out/figures.json").read_text())
    held_out = [json.loads(line)["completion"] for line in (folder / "out/heldout.jsonl").read_text().splitlines()]
    kept = set(held_out)
    unigram = measure_unigram(tokenizer, [r["completion"] for r in records if r["completion"] not in kept], held_out)
    after, before = figures["metrics"][0], figures["baseline"]["metrics"][0]
    tokens = sum(len(tokenizer.encode(r["prompt"] + r["completion"])) for r in records)
    share = result.summary["rows"]["training"] / len(records)
    print("| model | held-out texts | perplexity | base before | unigram | steps | tokens/s |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| deepseek_v{version}, {result.summary['parameters']:,} weights, {epochs} epochs | {figures['rows']} "
        f"| {after['value']:.1f} ({after['low']:.1f} to {after['high']:.1f}) | {before['value']:.0f} | {unigram:.1f} "
        f"| {result.summary['steps']} | {tokens * share * epochs / (clock.ended - clock.begun):,.0f} |"
    )


def measure_gpu(peak: float) -> None:
    """Tokens a second, MFU and peak memory of steps in fp32 and in mixed precision, on the first GPU."""
    import torch
    import transformers

    if not torch.cuda.is_available():
        print("\nNo GPU: tokens/s, MFU and memory in mixed precision were not measured.")
        return
    config = transformers.DeepseekV3Config(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=5632,
        moe_intermediate_size=1024,
        num_hidden_layers=12,
        num_attention_heads=16,
        num_key_value_heads=16,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        max_position_embeddings=2048,
    )
    with torch.device("cuda"):
        model = transformers.DeepseekV3ForCausalLM(config).train()
    weights = sum(p.numel() for p in model.parameters())
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name)
    active = weights - experts * (1 - config.num_experts_per_tok / config.n_routed_experts)
    tokens = torch.randint(0, config.vocab_size, (4, 2048), device="cuda")
    print(f"\n{torch.cuda.get_device_name()}, {weights:,} weights, {active:,.0f} active, batch 4 x 2048")
    print("| precision | tokens/s | MFU | peak memory beyond weights, GB |\n|---|---|---|---|")
    for name, dtype in (("fp32", None), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
        times = []
        for _ in range(5):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
                loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
            loss.backward()
            model.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
        rate = tokens.numel() / min(times[1:])
        memory = (torch.cuda.max_memory_allocated() - base) / 1e9
        print(f"| {name} | {rate:,.0f} | {6 * active * rate / (peak * 1e12):.1%} | {memory:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", type=int, choices=(3, 4), default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--no-gpu", action="store_true")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOPS of the card; that of an H100 SXM by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_language(Path(folder), options.version, options.epochs)
    if not options.no_gpu:
        measure_gpu(options.peak)


if __name__ == "__main__":
    main()
