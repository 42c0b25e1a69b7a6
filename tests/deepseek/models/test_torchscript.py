"""TorchScript files: equal models give equal bytes, and code that does more than compute is not opened."""

import contextlib
import warnings
import zipfile
from itertools import product

import numpy as np
import pytest
import torch

from deepseek.job import EngineError
from deepseek.models.manifest import ImageArchitecture, MlpArchitecture, ModelFile, compute_file_sha256
from deepseek.models.network import build_network, load_network
from deepseek.models.predictor import open_model
from deepseek.models.torchscript import read_archive, write_archive
from deepseek.models.torchscript_code import find_forbidden_call
from deepseek.quantize.int8 import quantize_network, trace
from tests.deepseek.models.making import make_model


def network(**fields):
    given = {"inputs": 4, "hidden": [6, 5], "outputs": 3, "activation": "relu", "output": "value"} | fields
    torch.manual_seed(0)
    return build_network(MlpArchitecture(**given)).eval().requires_grad_(False)


def refused(code, path):
    with pytest.raises(EngineError) as caught:
        read_archive(path)
    assert (caught.value.code, caught.value.field) == (code, "inputs/model")
    return caught.value


class Writer(torch.nn.Module):
    """Makes a file when it is asked for a prediction."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.from_file("made", True, 4)


def export(module):
    """The forms that quantize writes."""
    return trace(module, torch.zeros(2, module.inputs))


def quantize(module):
    return trace(quantize_network(module), torch.zeros(2, module.inputs))


@pytest.mark.parametrize("form", [export, quantize])
def test_every_network_is_read_back_as_it_was_written(tmp_path, form):
    wrong = []
    for number, (activation, output, residual, hidden) in enumerate(
        product(["relu", "tanh", "gelu"], ["value", "probabilities"], [False, True], [[], [6, 5]])
    ):
        fields = {"activation": activation, "output": output, "residual": residual, "hidden": hidden}
        made, path = form(network(**fields, dropout=0.1)), tmp_path / f"{number}.pt"
        write_archive(made, path)
        opened, rows = read_archive(path), torch.randn(7, 4)
        if not torch.equal(opened(rows), made(rows)) or opened(rows[:1]).shape != (1, 3):
            wrong.append(fields)
    assert wrong == []


def test_equal_models_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_archive(quantize(network()), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_path_of_this_machine_is_in_it(tmp_path):
    write_archive(export(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        for name in archive.namelist():
            assert b"site-packages" not in archive.read(name)
            assert b"network.py" not in archive.read(name)


def test_a_model_that_writes_files(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writer()).save(str(tmp_path / "m.pt"))
    error = refused("model_unsafe", tmp_path / "m.pt")
    assert error.value == "torch.from_file"


@pytest.mark.parametrize(
    "line", ["  torch.save(features, 'x')", "  x = ops.aten.save(features)", "  (((", "  f()()", "  while True: x = 1"]
)
def test_a_forward_that_was_edited(tmp_path, line):
    write_archive(export(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as source, zipfile.ZipFile(tmp_path / "edited.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".py"):
                data = data.replace(b"    return", f"  {line}\n    return".encode())
            target.writestr(name, data)
    refused("model_unsafe", tmp_path / "edited.pt")


def test_methods_besides_forward(tmp_path):
    """A __setstate__ would run while the file is opened."""
    write_archive(export(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive:
        archive.writestr(
            "archive/code/__torch__/x.py", "class X(Module):\n  def __setstate__(self, state):\n    return None\n"
        )
    assert "__setstate__" in refused("model_unsafe", tmp_path / "m.pt").value


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """The entries of a file whose model makes the file `made` when it is asked."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writer()).save("writer.pt")
    with zipfile.ZipFile("writer.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(("said", "meant"), [("/code/", "/CODE/"), (".py", ".PY"), ("/code/", "/code//")])
def test_code_under_a_name_that_torch_finds_too(tmp_path, writer, said, meant):
    """Beside harmless code under the right name; torch asks for names whatever their case."""
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as target:
        for name, data in writer.items():
            target.writestr(name.replace(said, meant) if name.endswith(".py") else name, data)
        target.writestr("writer/code/__torch__/x.py", "x = 1\n")
    assert meant.strip("/") in refused("model_unsafe", tmp_path / "m.pt").value


@pytest.mark.parametrize("name", ["archive/model.json", "other/data.pkl", "archive/code/__torch__.py"])
def test_entries_that_no_model_has(tmp_path, name):
    """model.json is torch's oldest layout, whose code stands wherever it says; the last one is there twice."""
    write_archive(export(network()), tmp_path / "m.pt")
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "m.pt", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/code/__torch__.py", "x = 1\n")
        archive.writestr(name, "x = 2\n")
    assert refused("model_unsafe", tmp_path / "m.pt").value == name


@pytest.mark.parametrize("form", [export, quantize])
def test_a_tensor_that_is_larger_than_its_bytes(tmp_path, form):
    """torch would answer with what lies behind them in memory."""
    write_archive(form(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as source:
        entries = {name: source.read(name) for name in source.namelist()}
    for name in [name for name in entries if "/constants/" in name]:
        with zipfile.ZipFile(tmp_path / "short.pt", "w") as target:
            for other, data in entries.items():
                target.writestr(other, data[:-4] if other == name else data)
        assert refused("model_unsafe", tmp_path / "short.pt").value == "constants.pkl"


def test_a_tensor_that_only_says_that_it_fits(tmp_path):
    """The words of a tensor that fits, as texts behind the ones that count."""
    write_archive(export(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as source, zipfile.ZipFile(tmp_path / "said.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/constants.pkl"):
                held, texts = b"cpuq\x04K\x04", ("MARK", "storage", "torch.FloatStorage", "0", "cpu")
                said = b"".join(b"X" + len(text).to_bytes(4, "little") + text.encode() for text in texts)
                assert held in data
                data = data.replace(held, b"cpuq\x04M\xff\xff" + said + b"K\x04", 1)
            target.writestr(name, data)
    assert refused("model_unsafe", tmp_path / "said.pt").value == "constants.pkl"


def test_an_archive_that_grows(tmp_path):
    write_archive(export(network()), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/7", bytes(10**7))
    assert "unpacked" in refused("model_unsafe", tmp_path / "m.pt").message


@pytest.mark.parametrize("size", [0, 10, 500, -30])
def test_a_file_that_was_cut_short(tmp_path, size):
    write_archive(export(network()), tmp_path / "m.pt")
    data = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(data[:size])
    refused("model_unreadable", tmp_path / "m.pt")


def test_a_file_that_is_not_there(tmp_path):
    refused("model_unreadable", tmp_path / "none.pt")


@contextlib.contextmanager
def quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Attention(torch.nn.Module):
    """Four numbers as a text of four tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.query, self.out = torch.nn.Linear(1, 8), torch.nn.Linear(8, 24), torch.nn.Linear(8, 2)
        self.norm, self.dropout = torch.nn.LayerNorm(8), torch.nn.Dropout(0.1)

    def forward(self, features):
        tokens = self.embed(features.unsqueeze(2))
        split = self.query(tokens).view(features.shape[0], 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        attended = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(features.shape[0], 4, 8)
        return self.out(self.norm(tokens + self.dropout(attended)).mean(1)).softmax(1)


class Convolution(torch.nn.Module):
    """The layers of ResNet and MobileNet; one of them is called twice, as in ResNet's blocks."""

    def __init__(self):
        super().__init__()
        first = [torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Hardswish(inplace=True)]
        self.first, self.second = torch.nn.Sequential(*first), torch.nn.Conv2d(4, 4, 1, bias=False)
        self.relu, self.pool = torch.nn.ReLU(inplace=True), torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.1, inplace=True), torch.nn.Linear(4, 2))

    def forward(self, images):
        features = self.relu(self.first(images / 255))
        return self.head(self.pool(self.relu(features + self.second(features)))).softmax(1)


def test_the_source_text_s_own_lines_make_files_that_are_opened(tmp_path):
    """Traced, saved and quantized by the text's calls, with no step of ours between; by loaders that take a folder."""
    trained = make_model(tmp_path / "model", task="classification", inputs=4)
    plain = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)).eval()
    images = ImageArchitecture(backbone="resnet18", height=32, width=32, outputs=2)
    wrong = []
    for name, (architecture, model) in {
        "ours": (trained.architecture, load_network(trained, tmp_path / "model/model.safetensors")),
        "plain": (trained.architecture, plain),
        "attention": (trained.architecture, Attention().eval()),
        "convolution": (images, Convolution().eval()),
    }.items():
        path, rows = tmp_path / f"{name}.pt", torch.randn(7, *architecture.input_shape)
        example = torch.randn(1, *architecture.input_shape)
        with quietly():
            traced = torch.jit.trace(model, example)
            traced.save(path)
            quantized = torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
            torch.jit.trace(quantized, example).save(tmp_path / f"{name}-int8.pt")
        for call, file in ((model, path), (quantized, tmp_path / f"{name}-int8.pt")):
            described = ModelFile(name="model.pt", sha256=compute_file_sha256(file), size=file.stat().st_size)
            update = {"format": "torchscript", "file": described, "architecture": architecture}
            predicted = open_model(trained.model_copy(update=update), file).predict(rows.numpy())
            if not np.allclose(predicted, call(rows).detach().numpy(), atol=1e-5):
                wrong.append(file.name)
        with torch.no_grad():  # or the second half would be the first again
            assert not torch.equal(quantized(rows), model(rows)), name
    assert wrong == []


CLASS = "class {name}(Module):\n  {attributes}\n  def forward(self: {name}, x: Tensor) -> Tensor:\n    {body}\n"


def code_of(name, body, attributes="training : bool", base="Module"):
    return CLASS.format(name=name, body=body, attributes=attributes).replace("(Module)", f"({base})")


def test_calls_between_modules_that_are_not_opened():
    """Beside calls of a layer's own forward: nothing that never ends, and no code that is not there."""
    inner = "inner : __torch__.a.B"
    twice = [
        code_of(f"C{n}", "return (self.next).forward((self.next).forward(x))", f"next : __torch__.a.C{n + 1}")
        for n in range(20)
    ]
    second = "  def forward1(self: B, x: Tensor) -> Tensor:\n    return x\n"
    cases = {
        None: code_of("A", "inner = self.inner\n    return (inner).forward((inner).forward1(x))", inner)
        + code_of("B", "return x")
        + second,
        "itself": code_of("A", "return self.forward(x)"),
        "itself ": code_of("A", "return (self.inner).forward(x)", inner)
        + code_of("B", "return (self.a).forward(x)", "a : __torch__.a.A"),
        "calls of modules": "".join(twice) + code_of("C20", "return x"),
        "inner.forward": code_of("A", "inner = self.inner\n    return (inner).forward(x)", "inner : __torch__.b.B"),
        "y.forward": code_of("A", "y = self.inner\n    y, z = (x, x)\n    return (y).forward(x)", inner)
        + code_of("B", "return x"),
        "no module": code_of("A", "return x", base="Interface"),
        "another meaning of torch": code_of("A", "torch = self.inner\n    return torch.to(x)", inner),
        "set_weight_bias": code_of("A", "return (self.inner).set_weight_bias(x, x)", inner),
        "__torch__.torch.classes.other": code_of("A", "return x", "inner : __torch__.torch.classes.other.Thing"),
        "twice": code_of("A", "return x") * 2,
        "another meaning of int": code_of("A", "int = self.inner\n    return int(x)", inner),
        "inner.forward2": code_of("A", "inner = self.inner\n    return (inner).forward2(x)", inner)
        + code_of("B", "return x"),
        "calls itself": code_of("A", "return (self).forward1(x)")
        + "  def forward1(self: A, x: Tensor) -> Tensor:\n    return (self).forward(x)\n",
        "linear_prepack": code_of("A", "return ops.quantized.linear_prepack(x, x)"),
    }
    wrong = []
    for expected, code in cases.items():
        found = find_forbidden_call({"code/__torch__/a.py": code.encode()})
        if (found is None) != (expected is None) or (expected or "").strip() not in (found or ""):
            wrong.append((expected, found))
    assert wrong == []
