"""One trained model, which no test changes."""

import pytest

from tests.deepseek.entities.making import draw_texts, train_to, write_jsonl


class Trained:
    """The folder of a model, its training texts, and the result of the training."""

    def __init__(self, folder):
        self.texts, self.out = write_jsonl(folder / "texts.jsonl", draw_texts()), folder / "model"
        self.result = train_to(self.out, self.texts, epochs=12)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("entities"))


@pytest.fixture
def texts(tmp_path):
    return write_jsonl(tmp_path / "texts.jsonl", draw_texts())
