"""What the data of a training is, read from the files that the training would get."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.fit.architectures import CONFIG, TENSORS, parse_config
from deepseek.fit.entities import FEWEST_OCCURRENCES
from deepseek.fit.memory import DataFacts

TOKENIZER = "tokenizer.json"


def read_facts(kind: str, paths: Sequence[Path], spec: Any) -> DataFacts:
    """The facts that `deepseek.fit.families` takes for this kind. Raises EngineError for files that do not hold."""
    return READERS[kind](spec, *paths) if paths else DataFacts()


def read_table_facts(_spec: Any, path: Path) -> DataFacts:
    """Rows, columns and bytes of a table; of a Parquet file by its footer."""
    from deepseek.tables.part_manifest import is_part_path
    from deepseek.tables.parts import count_part_rows, list_parts, read_part_schema
    from deepseek.tables.sources import read_whole_table

    if path.is_dir() and any(is_part_path(file.name) for file in path.iterdir()):
        parts = list_parts(path)
        rows = sum(count_part_rows(part, part.name) for part in parts)
        size = sum(part.stat().st_size for part in parts)
        return _count_table(read_part_schema(parts[0], parts[0].name), rows, size)
    if path.is_dir():
        return DataFacts(file_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with suppress(OSError, ValueError), pq.ParquetFile(os.fsdecode(path)) as file:  # below it is told why not
            return _count_table(file.schema_arrow, file.metadata.num_rows, path.stat().st_size)
    table = read_whole_table(path)
    return _count_table(table.schema, table.num_rows, path.stat().st_size)


def _count_table(schema: Any, rows: int, size: int) -> DataFacts:
    from deepseek.train.columns import is_number

    numbers = sum(is_number(field.type) for field in schema)
    return DataFacts(rows=rows, columns=len(schema), number_columns=numbers, file_bytes=size)


def read_image_facts(_spec: Any, folder: Path) -> DataFacts:
    """The images that have a label, and how many labels there are; none of them is decoded."""
    from deepseek.images.listing import list_entries

    entries = [entry for entry in list_entries(folder) if entry.label]
    return DataFacts(
        rows=len(entries),
        classes=len({entry.label for entry in entries}) or None,
        file_bytes=sum((folder / entry.path).stat().st_size for entry in entries),
    )


def read_entities_facts(spec: Any, path: Path) -> DataFacts:
    """The texts and their tokens."""
    from collections import Counter

    from deepseek.entities.texts import read_texts
    from deepseek.entities.tokens import normalize_word

    texts = read_texts(path, spec).texts
    words = Counter(normalize_word(token.text) for text in texts for token in text.tokens)
    return DataFacts(
        rows=len(texts),
        file_bytes=path.stat().st_size,
        tokens=words.total(),
        longest=max((len(text.tokens) for text in texts), default=0),
        words=sum(count >= FEWEST_OCCURRENCES for count in words.values()),
    )


def read_language_facts(_spec: Any, base: Path, texts: Path | None = None) -> DataFacts:
    """The base model's config.json and the bytes of its tensors; of the texts the tokens, by its tokenizer."""
    from deepseek.language.base import check_architecture, read_json
    from deepseek.language.texts import read_records

    files: dict[str, str] = {}
    if base.is_file():
        from deepseek.language.unpack import read_files

        files, tensors = read_files(base), base.stat().st_size
    else:
        tensors = sum(file.stat().st_size for file in base.glob(f"*{TENSORS}"))
        check_architecture(base, read_json(base / CONFIG))
        files = {name: (base / name).read_text("utf-8") for name in (CONFIG, TOKENIZER) if (base / name).is_file()}
    facts = DataFacts(base=parse_config(files.get(CONFIG)), base_bytes=tensors)
    if texts is None:
        return facts
    records = [list_strings(record) for _line, record in read_records(texts)]
    counts = list(_count_tokens(files.get(TOKENIZER), records))
    return DataFacts(
        rows=len(records),
        file_bytes=texts.stat().st_size,
        tokens=sum(counts) if counts else None,
        longest=max(counts) if counts else None,
        base=facts.base,
        base_bytes=tensors,
    )


def list_strings(value: Any) -> list[str]:
    """Every text in a JSON value: roles and contents, prompt and completion."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for part in value for text in list_strings(part)] if isinstance(value, list) else []


SPECIAL = 2  # tokens that a template adds to each text: of its beginning and its end


def _count_tokens(tokenizer: str | None, records: Iterable[list[str]]) -> Iterable[int]:
    """Tokens of each text; none where the tokenizer cannot be read."""
    if tokenizer is None:
        return []
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_str(tokenizer)
    except Exception:  # noqa: BLE001  what a damaged tokenizer.json raises has no class of its own
        return []
    return [
        sum(len(loaded.encode(text, add_special_tokens=False).ids) + SPECIAL for text in texts) for texts in records
    ]


READERS: dict[str, Callable[..., DataFacts]] = {
    "train": read_table_facts,
    "train_image": read_image_facts,
    "train_entities": read_entities_facts,
    "train_language": read_language_facts,
}
