"""Conversations as JSON lines, and the tokens that a model sees of them.

A line is {"messages": [{"role", "content"}, ...]}, which a chat template turns into text, or {"prompt", "completion"},
which stand one after the other. The loss is taken on what the assistant says, and on a completion.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError
from deepseek.language.spec import LanguageSpec
from deepseek.messages import N_, Message

MAX_LINE_BYTES = 16 << 20
ASSISTANT = "assistant"
_GENERATION_TAGS = ("{% generation", "{%- generation")


@dataclass(frozen=True)
class Text:
    """One line as tokens. `targets`: which of them the loss is taken on; never the first, which nothing precedes."""

    line: int
    tokens: npt.NDArray[np.int32]
    targets: npt.NDArray[np.bool_]
    prompt: "str | list[dict[str, str]]"  # of the last answer
    answer: str

    @property
    def count(self) -> int:
        """Tokens that the loss is taken on."""
        return int(self.targets.sum())


@dataclass(frozen=True)
class Texts:
    """Those to learn from, and what became of the others."""

    rows: list[Text]
    cut: int
    skipped: int


def read_texts(path: Path, spec: LanguageSpec, tokenizer: Any, context: int) -> Texts:
    """The lines of the file, in their order.

    Raises EngineError: ``text_unreadable``, ``chat_template_missing``, ``chat_template_mismatch``, ``text_too_long``;
    each names the line.
    """
    limit = min(spec.max_length or context, context)
    rows, cut, skipped = [], 0, 0
    for line, record in read_records(path):
        text = encode_record(record, line, tokenizer, spec.chat_template or None)
        if len(text.tokens) > limit:
            if spec.too_long == "fail":
                raise build_length_error(text, limit)
            text = Text(line, text.tokens[:limit], text.targets[:limit], text.prompt, text.answer)
            if spec.too_long == "skip" or not text.count:
                skipped += 1
                continue
            cut += 1
        rows.append(text)
    return Texts(rows, cut, skipped)


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of each line that is not empty."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise build_line_error(number, Message("it is longer than {limit} bytes", limit=MAX_LINE_BYTES))
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise build_line_error(number, Message("it is no JSON ({error})", error=str(error)[:200])) from error
            if not isinstance(record, dict):
                raise build_line_error(number, Message("it is no JSON object"))
            yield number, record


def encode_record(record: dict[str, Any], line: int, tokenizer: Any, template: str | None) -> Text:
    """The tokens of one line."""
    if "messages" in record:
        return encode_messages(check_messages(record["messages"], line), line, tokenizer, template)
    prompt, completion = record.get("prompt"), record.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str) or not completion:
        raise build_line_error(line, Message("it has neither messages nor a prompt and a completion"))
    return encode_completion(prompt, completion, line, tokenizer)


def check_messages(messages: Any, line: int) -> list[dict[str, str]]:
    """The messages, each a role and a content, one at least of the assistant."""
    if not isinstance(messages, list) or not messages:
        raise build_line_error(line, Message("its messages are no list"))
    checked = []
    for message in messages:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise build_line_error(line, Message("a message has no role and content that are texts"))
        checked.append({"role": role, "content": content})
    if checked[-1]["role"] != ASSISTANT:
        raise build_line_error(line, Message("its last message is not the assistant's"))
    return checked


def encode_completion(prompt: str, completion: str, line: int, tokenizer: Any) -> Text:
    """The prompt's tokens after that of the beginning, the completion's before that of the end."""
    begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    first = [*begin, *tokenizer.encode(prompt, add_special_tokens=False)]
    second = [*tokenizer.encode(completion, add_special_tokens=False), *end]
    return build_text(line, [*first, *second], [False] * len(first) + [True] * len(second), prompt, completion)


def build_text(line: int, tokens: list[int], targets: list[bool], prompt: Any, answer: str) -> Text:
    marked = np.array(targets, dtype=np.bool_)
    marked[:1] = False
    if not marked.any():
        raise build_template_error(line, Message("no token of it is the assistant's"))
    return Text(line, np.array(tokens, dtype=np.int32), marked, prompt, answer)


def encode_messages(messages: list[dict[str, str]], line: int, tokenizer: Any, template: str | None) -> Text:
    """What the template makes of the messages, and which tokens of that the assistant says.

    A template that marks them itself ({% generation %}) is taken at its word. Else what it adds for each message of
    the assistant is taken, for which it must begin with all that it gave before.
    """
    source = template or tokenizer.chat_template
    if not isinstance(source, str):
        raise build_missing_template_error(line)
    conversation = render(messages, line, tokenizer, source)
    for message in messages:
        if message["content"].strip() not in conversation:
            raise build_template_error(line, Message("it leaves out what the role {role!r} says", role=message["role"]))
    if any(tag in source for tag in _GENERATION_TAGS):
        tokens, targets = mark_generation(messages, tokenizer, source)
    else:
        tokens, targets = mark_spans(
            conversation, find_spans(messages, conversation, line, tokenizer, source), tokenizer
        )
    return build_text(line, tokens, targets, messages[:-1], messages[-1]["content"])


def render(messages: list[dict[str, str]], line: int, tokenizer: Any, source: str, *, asks: bool = False) -> str:
    """The text that the template makes. Raises EngineError ``chat_template_mismatch`` for whatever it raises."""
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, chat_template=source, add_generation_prompt=asks)
    except Exception as error:  # a template is a program of its author's: it may raise anything
        raise build_template_error(line, f"{type(error).__name__}: {str(error)[:300]}") from error
    return str(text)


def mark_generation(messages: list[dict[str, str]], tokenizer: Any, source: str) -> tuple[list[int], list[bool]]:
    encoded = tokenizer.apply_chat_template(
        messages, chat_template=source, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(encoded["input_ids"]), [bool(mark) for mark in encoded["assistant_masks"]]


def find_spans(
    messages: list[dict[str, str]], whole: str, line: int, tokenizer: Any, source: str
) -> list[tuple[int, int]]:
    """Where in the text each message of the assistant begins and ends, in characters."""
    spans = []
    for place, message in enumerate(messages):
        if message["role"] != ASSISTANT:
            continue
        before = render(messages[:place], line, tokenizer, source, asks=True) if place else ""
        after = render(messages[: place + 1], line, tokenizer, source)
        if not after.startswith(before) or not whole.startswith(after.rstrip()) or len(after) <= len(before):
            raise build_template_error(
                line, Message("what it makes of an answer cannot be told from what is before it")
            )
        spans.append((len(before), min(len(after), len(whole))))
    return spans


def mark_spans(whole: str, spans: list[tuple[int, int]], tokenizer: Any) -> tuple[list[int], list[bool]]:
    """The text's tokens, and which of them begin in one of the spans."""
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _end in encoded["offset_mapping"]]
    return list(encoded["input_ids"]), [any(low <= start < high for low, high in spans) for start in starts]


def build_line_error(line: int, why: str) -> EngineError:
    return EngineError(
        "text_unreadable",
        "Line {line} of the texts cannot be used: {why}.",
        line=line,
        why=why,
        field="inputs/texts",
        value=f"line {line}",
        limit='{"messages": [{"role", "content"}, ...]} or {"prompt", "completion"}',
        hint=N_("Correct the line, or leave it out."),
    )


def build_missing_template_error(line: int) -> EngineError:
    return EngineError(
        "chat_template_missing",
        "Line {line} has messages, and the base model's tokenizer has no chat template.",
        line=line,
        field="/chat_template",
        value=f"line {line}",
        limit=N_("a Jinja template"),
        hint=N_("Give a chat template in the spec, or lines with a prompt and a completion."),
    )


def build_template_error(line: int, why: str) -> EngineError:
    return EngineError(
        "chat_template_mismatch",
        "The chat template does not fit line {line}: {why}.",
        line=line,
        why=why,
        field="/chat_template",
        value=f"line {line}",
        limit=N_("a template that takes every role and marks or appends each answer"),
        hint=N_("Give a template that fits these messages, or correct the line."),
    )


def build_length_error(text: Text, limit: int) -> EngineError:
    return EngineError(
        "text_too_long",
        "Line {line} has {count} tokens, and {most} are allowed.",
        line=text.line,
        count=len(text.tokens),
        most=limit,
        field="/too_long",
        value=str(len(text.tokens)),
        limit=limit,
        hint=N_("Choose to cut or to skip longer texts, or shorten the line."),
    )
