"""The row language of families.py, and speed and memory of a language model where a GPU is.

A DeepSeek model with random weights learns the sentences of docs/*.md, each a prompt (its first words) and a
completion (the rest); its tokenizer is trained on them too. Perplexity on held-out completions stands against the base
before training and against a unigram: the shares of tokens in the training completions, smoothed by one.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.family_row import Row, get_metric, train
from deepseek.language.errors import require_packages
from deepseek.language.spec import LanguageSpec

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


def measure_language(folder: Path, options: argparse.Namespace) -> Row:
    from deepseek.language.run import run

    sentences, epochs = list_sentences(), options.epochs or 8
    words = [text.split() for text in sentences]
    records = [{"prompt": " ".join(w[:PROMPT_WORDS]), "completion": " " + " ".join(w[PROMPT_WORDS:])} for w in words]
    tokenizer = write_base(folder / "base", sentences, options.version)
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(record) + "\n" for record in records))
    schedule = {"warmup_steps": 30, "init_lr": 1e-4, "max_lr": 3e-3, "first_batch": 32, "last_batch": 64}
    spec = LanguageSpec(
        method="full",
        epochs=epochs,
        patience=0,
        samples=0,
        micro_batch=32,
        threads=options.threads,
        schedule=schedule,
    )
    result, figures, clock = train(run, spec, {"base": folder / "base", "texts": texts}, folder)
    held_out = [json.loads(line)["completion"] for line in (folder / "out/heldout.jsonl").read_text().splitlines()]
    kept = set(held_out)
    unigram = measure_unigram(tokenizer, [r["completion"] for r in records if r["completion"] not in kept], held_out)
    assert figures.baseline is not None
    before = get_metric(figures.baseline.metrics, "perplexity").value
    tokens = sum(len(tokenizer.encode(r["prompt"] + r["completion"])) for r in records)
    rate = tokens * result.summary["rows"]["training"] / len(records) * epochs / clock.seconds
    return Row(
        model=f"deepseek_v{options.version}, {result.summary['parameters']:,} weights, {epochs} epochs",
        metric=get_metric(figures.metrics, "perplexity"),
        baseline="unigram",
        baseline_value=unigram,
        examples=figures.rows,
        clock=clock,
        steps=result.summary["steps"],
        note=f"perplexity of the base before: {before:,.0f}; {rate:,.0f} tokens/s",
    )


def measure_gpu(peak: float) -> None:
    """Tokens a second, MFU and peak memory of steps in fp32 and in mixed precision, on the first GPU.

    MFU counts 6 operations for each active weight and token, over `peak`: the card's TFLOPS in bf16 without sparsity.
    """
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
