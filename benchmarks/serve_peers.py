"""The servers that `serve.py` compares, each one worker with the same model, an MLP 16-64-2.

``python serve_peers.py litserve 8000`` serves LitServe,
`bentoml serve serve_peers:Bento` BentoML.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from deepseek.export.document import build_axes
from deepseek.export.forms import export_program, write_onnx
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    MlpArchitecture,
    ModelFile,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import build_network, save_network
from deepseek.models.trainable import Trainable

INPUTS, HIDDEN, OUTPUTS = 16, 64, 2
TEXT = """
from fastapi import FastAPI
import torch
app = FastAPI()
model = torch.jit.load("model.pt")
@app.post("/predict")
async def predict(data: dict):
    input_tensor = torch.tensor(data["features"])
    with torch.no_grad():
        output = model(input_tensor)
    return {"prediction": output.tolist()}
"""
"""The source text's service (4.3), as it is written there."""
ECHO = """
BODY = b'{"prediction":[[0.5239706635475159,0.4760293960571289]]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
"""
"""An ASGI application that does nothing: what uvicorn alone can do."""


def make_models(folder: Path) -> None:
    """The same weights as a model folder and as TorchScript, with the text's service and the echo beside them."""
    architecture = MlpArchitecture(
        inputs=INPUTS, hidden=[HIDDEN], outputs=OUTPUTS, activation="relu", output="probabilities"
    )
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    names = [f"x{i}" for i in range(INPUTS)]
    about = {"task": "classification", "target": "y", "features": names, "classes": ["no", "yes"]}
    manifest = save_network(network, folder, architecture=architecture, inputs={}, spec={}, **about)
    save_onnx(network, manifest, folder / "onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, INPUTS)).save(str(folder / "model.pt"))
    (folder / "text.py").write_text(TEXT)
    (folder / "echo.py").write_text(ECHO)


def save_onnx(network: Trainable, manifest: ModelManifest, folder: Path) -> None:
    """The model in its form for ONNX Runtime, in a folder of its own."""
    folder.mkdir()
    path, axes = folder / FILE_NAMES["onnx"], build_axes(manifest)
    write_onnx(export_program(network, torch.zeros(3, INPUTS), axes), path, axes)
    file = ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size)
    form = manifest.model_copy(update={"format": "onnx", "variant": "fp32-onnx", "file": file})
    (folder / MANIFEST_NAME).write_text(form.to_json())


def load_script() -> torch.jit.ScriptModule:
    torch.set_num_threads(1)
    return torch.jit.load("model.pt")


def __getattr__(name: str) -> object:  # BentoML's service, made when it is asked for
    if name != "Bento":
        raise AttributeError(name)
    import bentoml

    @bentoml.service(workers=1)
    class Bento:
        def __init__(self) -> None:
            self.model = load_script()

        @bentoml.api
        def predict(self, features: list[list[float]]) -> dict:
            with torch.no_grad():
                return {"prediction": self.model(torch.tensor(features)).tolist()}

    return Bento


def save_mlflow(folder: Path) -> None:
    """A pyfunc model of the same network, for `mlflow models serve`."""
    import mlflow

    class Model(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            self.model = torch.jit.load(context.artifacts["model"])

        def predict(self, context, model_input, params=None):
            with torch.no_grad():
                return self.model(torch.from_numpy(np.asarray(model_input, "float32"))).tolist()

    mlflow.pyfunc.save_model(
        str(folder / "mlflow"), python_model=Model(), artifacts={"model": str(folder / "model.pt")}
    )


if __name__ in ("__main__", "__mp_main__") and len(sys.argv) > 1 and sys.argv[1] == "litserve":
    import litserve

    class Api(litserve.LitAPI):  # LitServe's workers are spawned, and import it from here
        def setup(self, device):
            self.model = load_script()

        def decode_request(self, request):
            return torch.tensor(request["features"])

        def predict(self, x):
            with torch.no_grad():
                return self.model(x)

        def encode_response(self, output):
            return {"prediction": output.tolist()}

    if __name__ == "__main__":
        server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
        server.run(
            port=int(sys.argv[2]), host="127.0.0.1", num_api_servers=1, log_level="warning", generate_client_file=False
        )
