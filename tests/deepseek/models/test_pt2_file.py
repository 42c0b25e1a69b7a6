"""Files of torch.export: opened only where they do nothing but compute."""

import io
import json
import zipfile

import pytest
import torch

from deepseek.job import EngineError
from deepseek.models.pt2_file import check_pt2_file, open_program


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 2)

    def forward(self, features):
        return self.layer(features.reshape(2 * features.shape[0] // 2, 5))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network, path = Network().eval().requires_grad_(False), tmp_path_factory.mktemp("pt2") / "model.pt2"
    program = torch.export.export(
        network, (torch.zeros(3, 5),), dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=1000)},)
    )
    torch.export.save(program, path)
    return network, path


@pytest.fixture
def change(exported, tmp_path):
    """The file with one entry changed by a function of its bytes; None: left out."""

    def change(name, edit, add=()):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pt2"
        with zipfile.ZipFile(exported[1]) as source, zipfile.ZipFile(path, "w") as out:
            for info in source.infolist():
                data = source.read(info)
                data = edit(data) if info.filename.endswith(name) else data
                if data is not None:
                    out.writestr(info.filename, data)
            for extra in add:
                out.writestr(extra, b"x")
        return path

    return change


def edit_json(edit):
    def apply(data):
        document = json.loads(data)
        edit(document)
        return json.dumps(document).encode()

    return apply


def test_rows_of_any_number(exported):
    network, path = exported
    module = open_program(path)
    for count in (1, 2, 7):
        rows = torch.randn(count, 5)
        assert torch.allclose(module(rows), network(rows))


def test_what_is_not_opened(exported, change, tmp_path):
    def pickled():
        buffer = io.BytesIO()
        torch.save([print], buffer)
        return buffer.getvalue()

    def mark(document):
        next(iter(document["config"].values()))["use_pickle"] = True

    def evaluate(data):
        text = data.decode()
        assert "Symbol('" in text
        return text.replace("Symbol('", "__import__('os').getcwd() or Symbol('").encode()

    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"no zip")
    (prefix,) = {name.partition("/")[0] for name in zipfile.ZipFile(exported[1]).namelist()}
    call = edit_json(lambda one: one["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.mine.run.default"))
    unsafe = {
        "a pickle": change("model_weights_config.json", edit_json(mark)),
        "more than tensors": change("sample_inputs/model.pt", lambda _: pickled()),
        "calls torch.ops.mine": change("models/model.json", call),
        "by an expression": change("models/model.json", evaluate),
        "opaque_obj_0": change("none", None, [f"{prefix}/data/constants/opaque_obj_0"]),
        "several archives": change("none", None, ["other/models/model.json"]),
    }
    wrong = {}
    for words, path in unsafe.items():
        try:
            check_pt2_file(path)
            wrong[words] = "opened"
        except EngineError as error:
            if error.code != "model_unsafe" or words not in error.message:
                wrong[words] = (error.code, error.message)
    assert wrong == {}
    for path in (nonsense, tmp_path / "absent"):
        with pytest.raises(EngineError) as failure:
            check_pt2_file(path)
        assert failure.value.code == "model_unreadable"
