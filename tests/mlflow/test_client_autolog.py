"""`mlflow.pytorch.autolog` and a fit by Lightning: nothing in the script names the plane."""

FIT = """
    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)
        def forward(self, x): return self.layer(x)
        def training_step(self, batch, _):
            loss = torch.nn.functional.mse_loss(self(batch[0]), batch[1])
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss
        def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.01)

    rows = torch.utils.data.TensorDataset(torch.rand(32, 4), torch.rand(32, 1))
    mlflow.set_experiment("autolog by client")
    mlflow.pytorch.autolog(log_models=True)
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False,
                                enable_checkpointing=False, enable_model_summary=False)
    net = Net()
    with mlflow.start_run() as run:
        trainer.fit(net, torch.utils.data.DataLoader(rows, batch_size=8))
    kept = mlflow.get_run(run.info.run_id)
    said["params"], said["metrics"], said["status"] = kept.data.params, kept.data.metrics, kept.info.status
    said["steps"] = [m.step for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
    said["files"] = [f.path for f in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)]
    (model,) = mlflow.search_logged_models(filter_string=f"source_run_id = '{run.info.run_id}'", output_format="list")
    said["model"] = [str(model.status), [metric.key for metric in model.metrics]]
"""


def test_a_fit_records_itself(client):
    said = client(FIT)
    assert said["status"] == "FINISHED"
    assert said["params"]["epochs"] == "3"
    assert said["params"]["optimizer_name"] == "SGD"
    assert "loss" in said["metrics"]
    assert said["steps"] == [0, 1, 2]
    assert "model_summary.txt" in said["files"]
    assert said["model"][0].endswith("READY")
    assert "POST runs/log-batch" in said.calls
