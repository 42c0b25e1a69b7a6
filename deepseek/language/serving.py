"""A language model over HTTP: a prompt or messages in, the answer out; the rest as every model's service has it."""

import json
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.language.loading import load_model
from deepseek.language.measures import answer_prompts, encode_prompt
from deepseek.language.network import LanguageNetwork
from deepseek.models.manifest import ModelManifest

ANSWER_TOKENS = 256
MAX_BODY_BYTES = 4 << 20


class LanguagePredictor:
    """A whole model, loaded and ready to answer, greedily and one prompt at a time."""

    def __init__(self, manifest: ModelManifest, network: LanguageNetwork, tokenizer: Any) -> None:
        self.manifest, self.network, self.tokenizer = manifest, network, tokenizer

    def answer(self, prompt: "str | list[dict[str, str]]") -> str:
        """The answer to a prompt or to messages. Raises EngineError ``prompt_invalid``."""
        if isinstance(prompt, str) and self.tokenizer.chat_template:
            prompt = [{"role": "user", "content": prompt}]
        try:
            tokens = encode_prompt(prompt, self.tokenizer, None)
        except Exception as error:  # a template is a program of its author's: it may raise anything
            raise build_prompt_error(f"{type(error).__name__}: {str(error)[:200]}") from error
        room = self.network.causal.config.max_position_embeddings
        if not 0 < len(tokens) < room:
            raise build_prompt_error(f"{len(tokens)} tokens, where 1 to {room - 1} are taken")
        return answer_prompts(self.network, self.tokenizer, [tokens], ANSWER_TOKENS)[0]


def load_language_predictor(manifest: ModelManifest, path: Path) -> LanguagePredictor:
    """The model in the file at `path`. Raises EngineError as `load_model` does."""
    loaded = load_model(manifest, path)
    return LanguagePredictor(manifest, loaded.network, loaded.tokenizer)


def read_prompt(body: bytes) -> "str | list[dict[str, str]]":
    """The prompt of a request: ``{"features": "..."}``, or a list of messages. Raises EngineError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EngineError(
            "malformed_json", "The body is no JSON.", hint='Send {"features": "the prompt"}.', limit="JSON"
        ) from error
    prompt = document.get("features") if isinstance(document, dict) else None
    is_messages = isinstance(prompt, list) and all(
        isinstance(message, dict) and {type(message.get("role")), type(message.get("content"))} == {str}
        for message in prompt
    )
    if prompt and (isinstance(prompt, str) or is_messages):
        return [{"role": m["role"], "content": m["content"]} for m in prompt] if isinstance(prompt, list) else prompt
    raise build_prompt_error("neither a text nor a list of messages with role and content")


def build_prompt_error(why: str) -> EngineError:
    return EngineError(
        "prompt_invalid",
        "The prompt cannot be answered: {why}.",
        why=why,
        field="features",
        limit="a text, or a list of messages with role and content",
        hint='Send {"features": "the prompt"} or {"features": [{"role": "user", "content": "..."}]}.',
    )
