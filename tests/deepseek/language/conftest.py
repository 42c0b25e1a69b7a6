"""What tests of language models share: tiny models, conversations, and a short training."""

import pytest

from tests.deepseek.conftest import Recorder


def pytest_collection_modifyitems(items):
    """Without the extra `language` there is nothing to test here."""
    from importlib.util import find_spec

    if find_spec("transformers") and find_spec("peft"):
        return
    for item in items:
        if "tests/deepseek/language" in str(item.path):
            item.add_marker(pytest.mark.skip(reason="the extra language is not installed"))


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """A folder of each architecture, which tests leave as it is; that of version 3 in several files."""
    from tests.deepseek.language.tiny import write_base

    folder = tmp_path_factory.mktemp("bases")
    return {version: write_base(folder / f"v{version}", version=version, shard_size="60KB") for version in (3, 4)}


@pytest.fixture
def texts(tmp_path):
    from tests.deepseek.language.tiny import write_texts

    return write_texts(tmp_path / "texts.jsonl")


@pytest.fixture
def fine_tune(tmp_path, texts):
    """fine_tune(base, name, report, inputs, **fields) -> the result of a training to the folder `name`."""
    from deepseek.language.run import run
    from deepseek.language.spec import LanguageSpec

    def fine_tune(base, name, report=None, inputs=None, **fields):
        schedule = {"first_batch": 4, "last_batch": 8, "init_lr": 1e-3, "max_lr": 1e-2, "warmup_steps": 4}
        values = {"epochs": 2, "samples": 1, "answer_tokens": 4, "schedule": schedule, **fields}
        slots = {"base": base, "texts": texts, **(inputs or {})}
        return run(LanguageSpec(**values), inputs=slots, out=tmp_path / name, report=report or Recorder())

    return fine_tune
