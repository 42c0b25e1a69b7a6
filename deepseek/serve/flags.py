"""The flags of ``deepseek serve``."""

import argparse
import re
from pathlib import Path

from deepseek.job import EngineError
from deepseek.serve.options import ModelSource, ServeOptions

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})(?::([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?=(.+)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DEFAULT_NAME = "model"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek serve",
        description='Answer POST /predict with {"features": [...]} by {"prediction": [...]}: one example, or several.',
        allow_abbrev=False,
    )
    words = (
        "the folder of a model, as `deepseek train`, `quantize`, `compile` or `export` makes it; "
        "with a name, or a name and a version: NAME=FOLDER, NAME:VERSION=FOLDER. The first answers /predict, each "
        "/models/NAME/predict"
    )
    parser.add_argument("models", metavar="MODEL_DIR", nargs="+", help=words)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    words = "port to listen on; 0 takes a free one and prints it (default: %(default)s)"
    parser.add_argument("--port", type=between(0, 65535), default=8080, help=words)
    words = (
        "number of an open descriptor: a socket that listens already, in place of --host and --port; two services that "
        "are given the same one answer side by side, so that one can take over from the other"
    )
    parser.add_argument("--listen-descriptor", type=between(3, 65535), metavar="NUMBER", help=words)
    words = "processor threads of one prediction; a compiled model brings its own number (default: %(default)s)"
    parser.add_argument("--threads", type=between(1, 256), default=1, help=words)
    words = "rows of one request (default: %(default)s)"
    parser.add_argument("--max-rows", type=between(1, 1_000_000), default=4096, metavar="ROWS", help=words)
    words = "requests that may wait for a model, the next is answered 503 (default: %(default)s)"
    parser.add_argument("--max-waiting", type=between(1, 100_000), default=128, metavar="REQUESTS", help=words)
    words = "milliseconds that a batch of several requests may take (default: %(default)s)"
    parser.add_argument("--latency-budget", type=between(1, 60_000), default=50, metavar="MS", help=words)
    words = "rows of such a batch; 1 computes each request alone (default: %(default)s)"
    parser.add_argument("--max-batch", type=between(1, 100_000), default=256, metavar="ROWS", help=words)
    words = "seconds that the head of a request, or its body, may take to arrive (default: %(default)s)"
    parser.add_argument("--body-seconds", type=between(1, 3600), default=20, metavar="SECONDS", help=words)
    words = "connections at a time (default: %(default)s)"
    parser.add_argument("--max-connections", type=between(1, 100_000), default=1024, metavar="NUMBER", help=words)
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="answer over TLS with this chain, a PEM file")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key of the certificate, if it is not in its file")
    words = "ask for a bearer token: one of this file, one a line, or its digest as sha256:HEX"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=words)
    words = "a Unix socket, in a folder of mode 0700, to swap models and ask for the status (docs/serving.md)"
    parser.add_argument("--admin-socket", type=Path, metavar="PATH", help=words)
    words = "a folder to record predictions in, as files of JSON lines"
    parser.add_argument("--record", type=Path, metavar="FOLDER", help=words)
    words = "the share of predictions to record, above 0 up to 1 (default: %(default)s)"
    parser.add_argument("--record-rate", type=parse_share, default=1.0, metavar="SHARE", help=words)
    words = "record the SHA-256 of the features instead of the features"
    parser.add_argument("--record-digests", action="store_true", help=words)
    words = (
        "megabytes of recorded files, beyond which none is written until some were taken away (default: %(default)s)"
    )
    parser.add_argument("--record-limit", type=between(1, 1_000_000), default=256, metavar="MB", help=words)
    words = "a folder for labels of recorded predictions, taken at POST /labels, as files of JSON lines"
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help=words)
    return parser


def parse_share(text: str) -> float:
    """A number above 0 up to 1, for argparse."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 up to 1")
    return share


def read_options(arguments: argparse.Namespace) -> ServeOptions:
    """The limits that the flags name."""
    return ServeOptions(
        max_rows=arguments.max_rows,
        threads=arguments.threads,
        max_waiting=arguments.max_waiting,
        latency_budget=arguments.latency_budget / 1000,
        max_batch=arguments.max_batch,
        batching=arguments.max_batch > 1,
        body_seconds=arguments.body_seconds,
        max_connections=arguments.max_connections,
    )


def read_sources(words: list[str]) -> list[ModelSource]:
    """The models to serve, by their words. Raises EngineError ``name_taken`` for two of one name."""
    sources: dict[str, ModelSource] = {}
    for word in words:
        source = parse_source(word)
        if source.name in sources:
            raise EngineError(
                "name_taken",
                "Two models have the name {name}.",
                name=source.name,
                field="MODEL_DIR",
                value=word,
                limit="a name of its own for each model",
                hint="Name them: NAME=FOLDER.",
            )
        sources[source.name] = source
    return list(sources.values())


def parse_source(word: str) -> ModelSource:
    """One model: a folder, which names the model too, NAME=FOLDER or NAME:VERSION=FOLDER."""
    match = _NAMED.fullmatch(word)
    if match and not Path(word).is_dir():
        return ModelSource(match[1], Path(match[3]), match[2] or "")
    folder = Path(word)
    name = folder.resolve().name
    return ModelSource(name if _NAME.fullmatch(name) else DEFAULT_NAME, folder)


class between:
    """A whole number from `low` to `high`, for argparse."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and self.low <= int(text) <= self.high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {self.low} to {self.high}")
        return int(text)
