"""The network's arithmetic, and what its file may be."""

import pickle  # noqa: TID251  what must not be opened has to be made first

import numpy as np
import pytest
import safetensors.torch
import torch

from deepseek.job import EngineError
from deepseek.models.assets import read_assets
from deepseek.models.manifest import MlpArchitecture, ModelManifest, compute_file_sha256
from deepseek.models.network import build_network, load_network, save_network
from tests.deepseek.models.making import make_model


def architecture(**changes):
    fields = {"inputs": 3, "hidden": [], "outputs": 1, "activation": "relu", "output": "value"} | changes
    return MlpArchitecture(**fields)


def forged(manifest, path):
    """The manifest as an attacker would write it: with the digest of the file that lies there now."""
    file = manifest.file.model_copy(update={"sha256": compute_file_sha256(path), "size": path.stat().st_size})
    return manifest.model_copy(update={"file": file})


def test_a_value_comes_out_in_its_own_unit():
    network = build_network(architecture())
    network.input_mean += torch.tensor([1.0, 2.0, 3.0])
    network.input_scale *= 2
    network.output_mean += 10
    network.output_scale *= 5
    x = torch.randn(4, 3)
    line = network.layers[0]
    wanted = 10 + 5 * (((x - torch.tensor([1.0, 2.0, 3.0])) / 2) @ line.weight.T + line.bias)
    assert torch.allclose(network(x), wanted)


def test_a_residual_network_learns_the_change_from_the_last_input():
    network = build_network(architecture(residual=True))
    x = torch.randn(4, 3)
    assert torch.allclose(network(x + 100) - 100, network(x), atol=1e-4)  # the level does not matter
    torch.nn.init.zeros_(network.layers[0].weight)
    torch.nn.init.zeros_(network.layers[0].bias)
    assert torch.equal(network(x), x[:, -1:])


def test_classes_get_shares():
    network = build_network(architecture(outputs=4, output="probabilities", hidden=[6]))
    x = torch.randn(5, 3)
    assert torch.allclose(network(x).sum(dim=1), torch.ones(5))
    assert torch.allclose(torch.log_softmax(network.compute_logits(x), dim=1), network(x).log(), atol=1e-5)


@pytest.mark.parametrize("task", ["forecast", "regression", "classification"])
def test_a_saved_network_comes_back_the_same(tmp_path, task):
    made = make_model(tmp_path, task=task, activation="gelu", dropout=0.5)
    manifest = ModelManifest.read(tmp_path / "model.json")
    assert manifest == made
    network = load_network(manifest, tmp_path / "model.safetensors")
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32))
    assert torch.equal(network(x), network(x))  # no dropout
    assert list(network(x).shape) == [7, manifest.signature.outputs[0].shape[1]]
    assert not any(p.requires_grad for p in network.parameters())


def test_equal_networks_are_equal_files(tmp_path):
    assert make_model(tmp_path / "a") == make_model(tmp_path / "b")
    assert (tmp_path / "a/model.json").read_bytes() == (tmp_path / "b/model.json").read_bytes()


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize("write", [lambda x, p: torch.save(x, p), lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_a_pickle_is_never_opened(tmp_path, write):
    manifest = make_model(tmp_path)
    path = tmp_path / "model.safetensors"
    write({"w": Bomb()}, path)
    with pytest.raises(EngineError) as caught:
        load_network(forged(manifest, path), path)
    assert caught.value.code == "model_unsafe"


def test_other_bytes_than_the_manifest_names(tmp_path):
    manifest = make_model(tmp_path)
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(EngineError) as caught:
        load_network(manifest, path)
    assert caught.value.code == "model_tampered"


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64])
def test_a_file_that_is_no_model(tmp_path, content):
    manifest = make_model(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        load_network(forged(manifest, path), path)
    assert caught.value.code == "model_unreadable"


def test_no_file(tmp_path):
    manifest = make_model(tmp_path)
    with pytest.raises(EngineError) as caught:
        load_network(manifest, tmp_path / "absent.safetensors")
    assert caught.value.code == "model_unreadable"


@pytest.mark.parametrize("change", ["wider", "missing", "more", "double", "forged"])
def test_tensors_that_do_not_fit(tmp_path, change):
    manifest = make_model(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    if change == "wider":
        tensors["layers.0.weight"] = torch.zeros(8, 6)
    elif change == "missing":
        del tensors["input_mean"]
    elif change == "more":
        tensors["other"] = torch.zeros(1)
    elif change == "double":
        tensors["layers.0.bias"] = tensors["layers.0.bias"].double()
    else:
        manifest = manifest.model_copy(update={"architecture": architecture(inputs=10**7, hidden=[10**7])})
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(EngineError) as caught:
        load_network(forged(manifest, path), path)
    assert caught.value.code == "model_mismatch"
    assert ": " in caught.value.limit


def test_another_form_is_refused(tmp_path):
    manifest = make_model(tmp_path).model_copy(update={"format": "torchscript"})
    with pytest.raises(EngineError) as caught:
        load_network(manifest, tmp_path / "model.safetensors")
    assert caught.value.code == "model_format"


def test_assets_travel_in_the_header_of_the_file(tmp_path):
    fields = {"task": "regression", "target": "y", "features": ["a", "b", "c"], "classes": [], "inputs": {}, "spec": {}}
    network = build_network(architecture())
    for assets in ({"vocabulary": ["市", "b"], "lower": True}, {"lower": True, "vocabulary": ["市", "b"]}):
        manifest = save_network(network, tmp_path, architecture=architecture(), assets=assets, **fields)
        assert read_assets(tmp_path / "model.safetensors") == assets
        first = (tmp_path / "model.safetensors").read_bytes()
        save_network(network, tmp_path, architecture=architecture(), assets=assets, **fields)
        assert (tmp_path / "model.safetensors").read_bytes() == first
    assert load_network(manifest, tmp_path / "model.safetensors") is not None
    save_network(network, tmp_path, architecture=architecture(), **fields)
    assert read_assets(tmp_path / "model.safetensors") == {}


def test_assets_that_are_none(tmp_path):
    wrong = {}
    for name, metadata in (("list", {"assets": "[]"}), ("no JSON", {"assets": "{"})):
        path = tmp_path / name
        path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, metadata))
        wrong[name] = path
    (tmp_path / "pickle").write_bytes(pickle.dumps({}))
    (tmp_path / "short").write_bytes(b"")
    codes = {}
    for path in tmp_path.iterdir():
        with pytest.raises(EngineError) as error:
            read_assets(path)
        codes[path.name] = error.value.code
    assert codes == dict.fromkeys(wrong, "model_unreadable") | {"pickle": "model_unsafe", "short": "model_unreadable"}
