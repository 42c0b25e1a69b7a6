"""Every form is served after its bytes were compared with its manifest, and batched only where that is right."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from deepseek.export.document import build_axes
from deepseek.export.forms import export_program, trace, write_pt2, write_torchscript
from deepseek.job import EngineError
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, ModelFile, ModelManifest, compute_file_sha256
from deepseek.models.predictor import load_predictor
from deepseek.serve.measurement import is_batch_dependent
from tests.deepseek.models.making import make_model
from tests.deepseek.models.test_onnx_file import build_onnx
from tests.deepseek.serve.conftest import load_models, open_service

ROWS = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)


def write_form(source, folder, format_, variant, write):
    """Another form of the model in `source`, in a folder of its own."""
    folder.mkdir()
    path = folder / FILE_NAMES[format_]
    write(load_predictor(source).module, path)
    file = ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size)
    manifest = ModelManifest.read(source / MANIFEST_NAME)
    changes = {"format": format_, "variant": variant, "file": file}
    (folder / MANIFEST_NAME).write_text(manifest.model_copy(update=changes).to_json())


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The folder of each form of one forecaster, by its name."""
    import torch

    home = tmp_path_factory.mktemp("forms")
    source = home / "fp32"
    make_model(source)
    axes, example = build_axes(ModelManifest.read(source / MANIFEST_NAME)), torch.zeros(3, 5)

    def write_int8(module, path):
        smaller = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, torch.qint8)
        write_torchscript(trace(smaller, example), path)

    writers = {
        "torchscript": ("torchscript", lambda module, path: write_torchscript(trace(module, example), path)),
        "int8": ("torchscript", write_int8),
        "onnx": ("onnx", lambda _, path: path.write_bytes(build_onnx(outputs=1).SerializeToString())),
        "pt2": ("pt2", lambda module, path: write_pt2(export_program(module, example, axes), path)),
    }
    for variant, (format_, write) in writers.items():
        write_form(source, home / variant, format_, variant, write)
    return {name: home / name for name in ("fp32", *writers)}


def test_each_form_answers_as_its_file_does(forms):
    wrong = {}
    for name, folder in forms.items():
        client = TestClient(open_service(folder))
        answers = [client.post("/predict", json={"features": row}).json()["prediction"] for row in ROWS.tolist()]
        expected = np.concatenate([load_predictor(folder).predict(row[None]) for row in ROWS])
        if not np.allclose(answers, expected, rtol=1e-6, atol=1e-6):
            wrong[name] = (answers, expected.tolist())
        assert f'variant="{name}"' in client.get("/metrics").text
    assert wrong == {}


def test_forms_whose_answers_depend_on_their_batch_are_not_batched(forms):
    found = {name: is_batch_dependent(load_predictor(folder).predict, ROWS) for name, folder in forms.items()}
    assert found == {"fp32": False, "torchscript": False, "int8": True, "onnx": False, "pt2": False}
    (int8,) = load_models(forms["int8"])
    assert (int8.measured.batch_dependent, int8.queue.merges, int8.turns) == (True, False, None)


def test_a_form_with_other_bytes_does_not_start(forms, tmp_path):
    codes = {}
    for name, folder in forms.items():
        copy = tmp_path / name
        copy.mkdir()
        for file in folder.iterdir():
            data = bytearray(file.read_bytes())
            if file.name.startswith("model.") and file.name != MANIFEST_NAME:
                data[len(data) // 2] ^= 1
            (copy / file.name).write_bytes(data)
        with pytest.raises(EngineError) as failure:
            load_models(copy)
        codes[name] = (failure.value.code, name in failure.value.message)
    assert codes == dict.fromkeys(forms, ("model_tampered", True))
