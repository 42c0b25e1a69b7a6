"""Large files in parts: the client's own thresholds, lowered by its own variables."""

SMALL = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(6 * 2**20),
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 * 2**20),
}
SCRIPT = """
    from pathlib import Path
    Path("large.bin").write_bytes(bytes(range(251)) * 50_000)
    with mlflow.start_run() as run: mlflow.log_artifact("large.bin", "weights")
    back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="weights/large.bin", dst_path=".")
    said["same"] = Path(back).read_bytes() == Path("large.bin").read_bytes()
    said["listed"] = [(f.path, f.file_size) for f in mlflow.artifacts.list_artifacts(run_id=run.info.run_id,
                                                                                    artifact_path="weights")]
"""


def test_a_large_file_comes_in_parts_and_back_whole(client):
    said = client(SCRIPT, **SMALL)
    assert said["same"]
    assert said["listed"] == [["weights/large.bin", 251 * 50_000]]
    steps = [call for call in said.calls if "mpu" in call]
    assert steps == ["POST mpu/create/EXP/RUN/artifacts/weights", "POST mpu/complete/EXP/RUN/artifacts/weights"]
    assert sum(call.startswith("PUT ") for call in said.calls) == 3


def test_the_same_file_without_parts_is_the_same_file(client):
    said = client(SCRIPT, MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD="false")
    assert said["same"]
    assert not [call for call in said.calls if "mpu" in call]
