"""Files of a run, by the stock client."""


def test_texts_tables_and_pictures(client):
    said = client("""
        mlflow.set_experiment("artifacts by client")
        with mlflow.start_run() as run:
            mlflow.log_text("hello", "notes/first.txt")
            mlflow.log_dict({"a": [1, 2]}, "config.json")
            mlflow.log_image(np.zeros((4, 6, 3), dtype=np.uint8), "images/black.png")
            mlflow.log_table(pd.DataFrame({"q": ["x"], "a": [1]}), "table.json")
        root = run.info.artifact_uri
        said["text"] = mlflow.artifacts.load_text(f"{root}/notes/first.txt")
        said["dict"] = mlflow.artifacts.load_dict(f"{root}/config.json")
        said["image"] = mlflow.artifacts.load_image(f"{root}/images/black.png").size
        said["table"] = mlflow.load_table("table.json", run_ids=[run.info.run_id]).to_dict("records")
        said["tags"] = mlflow.get_run(run.info.run_id).data.tags["mlflow.loggedArtifacts"]
    """)
    assert (said["text"], said["dict"], said["image"]) == ("hello", {"a": [1, 2]}, [6, 4])
    assert said["table"] == [{"q": "x", "a": 1}]
    assert "table.json" in said["tags"]
    created = said.calls.index("POST runs/create")
    put = said.calls.index("PUT artifacts/EXP/RUN/artifacts/notes/first.txt")
    assert "GET runs/get" in said.calls[created:put]


def test_a_folder_is_kept_and_listed_as_it_is(client):
    said = client("""
        from pathlib import Path
        Path("out/deep").mkdir(parents=True)
        Path("out/deep/a b é.txt").write_text("spaced")
        Path("out/empty.bin").write_bytes(b"")
        Path("out/bytes.bin").write_bytes(bytes(range(256)) * 20_000)
        Path("alone.txt").write_text("alone")
        with mlflow.start_run() as run:
            mlflow.log_artifact("alone.txt")
            mlflow.log_artifacts("out", artifact_path="kept")
        api = mlflow.MlflowClient()
        def listed(path=None):
            return [(f.path, f.is_dir, f.file_size or 0) for f in api.list_artifacts(run.info.run_id, path)]
        said["root"], said["kept"], said["deep"] = listed(), listed("kept"), listed("kept/deep")
        said["file"], said["nothing"] = listed("alone.txt"), listed("nothing")
        back = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="kept", dst_path="back"))
        said["same"] = {str(p.relative_to("out")): p.read_bytes() == (back / p.relative_to("out")).read_bytes()
                        for p in Path("out").rglob("*") if p.is_file()}
    """)
    assert said["root"] == [["alone.txt", False, 5], ["kept", True, 0]]
    assert said["kept"] == [
        ["kept/bytes.bin", False, 5_120_000],
        ["kept/deep", True, 0],
        ["kept/empty.bin", False, 0],
    ]
    assert said["deep"] == [["kept/deep/a b é.txt", False, 6]]
    assert (said["file"], said["nothing"]) == ([], [])
    assert said["same"] == {"deep/a b é.txt": True, "empty.bin": True, "bytes.bin": True}


def test_a_file_written_again_is_replaced_and_one_deleted_is_gone(client):
    said = client("""
        from mlflow.exceptions import MlflowException
        with mlflow.start_run() as run:
            mlflow.log_text("one", "a.txt")
            mlflow.log_text("two", "a.txt")
        root = run.info.artifact_uri
        said["text"] = mlflow.artifacts.load_text(f"{root}/a.txt")
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        get_artifact_repository(root).delete_artifacts("a.txt")
        try: mlflow.artifacts.load_text(f"{root}/a.txt")
        except MlflowException as lost: said["lost"] = str(lost)
        said["left"] = mlflow.artifacts.list_artifacts(run_id=run.info.run_id)
    """)
    assert said["text"] == "two"
    assert "a.txt" in said["lost"]
    assert said["left"] == []
