"""The Python client as it is installed, over a socket: what it sends is taken, and drawn."""

from __future__ import annotations

import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    data_quality_metrics_input_dataset,
    dataset_version_dataset,
    error_message_run,
    output_statistics_output_dataset,
    schema_dataset,
    source_code_location_job,
)
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpCompression, HttpConfig, HttpTransport
from openlineage.client.uuid import generate_new_uuid

from apps.gateways.openlineage.models import ForeignEnd, ForeignRun, LineageEvent
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.django_db(transaction=True)


def events(run_id: str) -> list[RunEvent]:
    """START and COMPLETE of one run, with facets on every side."""
    run = Run(runId=run_id)
    code = source_code_location_job.SourceCodeLocationJobFacet(type="git", url="https://git/x", version="abc")
    job = Job(namespace="airflow", name="load", facets={"sourceCodeLocation": code})
    fields = [schema_dataset.SchemaDatasetFacetFields(name="id", type="bigint")]
    read = InputDataset(
        namespace="postgres://erp",
        name="orders",
        facets={"schema": schema_dataset.SchemaDatasetFacet(fields=fields)},
        inputFacets={
            "dataQualityMetrics": data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                rowCount=7, columnMetrics={}
            )
        },
    )
    made = OutputDataset(
        namespace="file",
        name="/lake/orders",
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion="9")},
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=7)
        },
    )
    shared = {"run": run, "job": job, "producer": "https://airflow/1", "inputs": [read], "outputs": [made]}
    return [
        RunEvent(eventType=RunState.START, eventTime="2026-11-25T10:00:00+00:00", **shared),
        RunEvent(eventType=RunState.COMPLETE, eventTime="2026-11-25T10:09:00.000001+08:00", **shared),
    ]


@pytest.mark.parametrize("compression", [None, HttpCompression.GZIP])
def test_start_and_complete(live_server, make_token, engineer, compression):
    config = HttpConfig(
        url=live_server.url, auth=ApiKeyTokenProvider({"apiKey": make_token(engineer)[0]}), compression=compression
    )
    client = OpenLineageClient(transport=HttpTransport(config))
    run_id = str(generate_new_uuid())
    for one in events(run_id):
        client.emit(one)
    client.close()
    assert LineageEvent.objects.count() == 2
    assert (str(ForeignRun.objects.get().run_id), ForeignRun.objects.get().state) == (run_id, "COMPLETE")
    assert sorted(ForeignEnd.objects.values_list("name", "version")) == [
        ("/lake/orders", "9"),
        ("load", ""),
        ("orders", ""),
    ]
    assert Edge.objects.count() == 2


def test_by_the_environment_alone(live_server, make_token, engineer, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_URL", live_server.url)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", make_token(engineer)[0])
    client = OpenLineageClient()
    failed = events(str(generate_new_uuid()))[1]
    failed.eventType = RunState.FAIL
    failed.run.facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
        message="no", programmingLanguage="PYTHON"
    )
    client.emit(failed)
    run = ForeignRun.objects.get()
    assert (run.state, run.facets["errorMessage"]["message"]) == ("FAIL", "no")
    assert "tags" in run.facets or run.facets  # the client adds facets of its own, which are kept


def test_a_refusal_reaches_the_client(live_server, make_token, viewer):
    config = HttpConfig(url=live_server.url, auth=ApiKeyTokenProvider({"apiKey": make_token(viewer)[0]}))
    client = OpenLineageClient(transport=HttpTransport(config))
    with pytest.raises(Exception, match="403"):
        client.emit(events(str(generate_new_uuid()))[0])
