import os
import subprocess
import sys
from pathlib import Path

CODE = "import deepseek, onnxruntime; onnxruntime.get_available_providers()"


def test_onnx_runtime_keeps_no_device_id_and_no_events(tmp_path):
    """Without the switch that `import deepseek` sets, ONNX Runtime writes both below the home at its own import."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", CODE], cwd=root, env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
