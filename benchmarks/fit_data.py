"""Data for benchmarks/fit.py: each maker writes the inputs of one training into a folder, and returns their paths."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Maker = Callable[[Path], list[Path]]
NAMES = ("Anna Berg", "Li Wei", "John Smith", "Maria Rossi")


def make_table(rows: int, columns: int) -> Maker:
    """A table of so many numbers in Parquet."""

    def make(folder: Path) -> list[Path]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        draw, path = np.random.default_rng(0), folder / "table.parquet"
        names = [f"x{number}" for number in range(columns - 1)]
        pq.write_table(pa.table({name: draw.normal(size=rows) for name in [*names, "y"]}), path)
        return [path]

    return make


def make_images(count: int, classes: int = 4) -> Maker:
    """Noise of a color for each class, 160 x 160, as JPEG."""

    def make(folder: Path) -> list[Path]:
        from PIL import Image

        draw, root = np.random.default_rng(0), folder / "images"
        for number in range(count):
            label = number % classes
            (root / f"c{label}").mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 40 + 50 * label, (160, 160, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"c{label}" / f"{number}.jpg")
        return [root]

    return make


def make_marked_texts(count: int, words: int) -> Maker:
    """Texts of so many words out of some thousands, each with a name that is marked."""

    def make(folder: Path) -> list[Path]:
        draw, path = np.random.default_rng(0), folder / "texts.jsonl"
        known = [f"w{''.join(chr(97 + letter) for letter in draw.integers(0, 26, 5))}" for _ in range(4000)]
        with path.open("w") as file:
            for number in range(count):
                name = NAMES[number % len(NAMES)]
                before = " ".join(known[place] for place in draw.integers(0, len(known), words - 2)) + f" {number} "
                span = {"start": len(before), "end": len(before) + len(name), "label": "PERSON"}
                file.write(json.dumps({"text": before + name, "spans": [span]}) + "\n")
        return [path]

    return make


def make_language(count: int, tokens: int, **widths: Any) -> Maker:
    """A random DeepSeek V3 whose tokenizer knows bytes and a few words, and prompts with completions of one length."""

    def make(folder: Path) -> list[Path]:
        import torch
        import transformers
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        special = ["<pad>", "<bos>", "<eos>"]
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        inner = Tokenizer(models.BPE({token: number for number, token in enumerate(special + letters)}, []))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        base, texts = folder / "base", folder / "texts.jsonl"
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
        ).save_pretrained(base)
        torch.manual_seed(0)
        config = transformers.DeepseekV3Config(**{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **widths})
        transformers.DeepseekV3ForCausalLM(config).save_pretrained(base)
        draw = np.random.default_rng(0)
        with texts.open("w") as file:
            for _ in range(count):
                text = "".join(chr(97 + letter) for letter in draw.integers(0, 26, tokens - 2))
                file.write(json.dumps({"prompt": text[:8], "completion": text[8:]}) + "\n")
        return [base, texts]

    return make
