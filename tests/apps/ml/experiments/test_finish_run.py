import copy
import json

import pytest

from apps.core.errors import IllegalMove, Refused, StaleState
from apps.ml.experiments import services
from apps.ml.experiments.states import RunState
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_closing_record_names_the_digests(start, log, finish):
    run = start(inputs={"table": "b" * 64})
    log(run, loss=[2, 1])
    finish(run)
    body = json.loads(AuditRecord.objects.get(action="run.finish").body)
    assert body["digests"] == {"metrics": run.metrics_digest, "code": "c" * 64, "spec": "5" * 64, "table": "b" * 64}
    assert (run.state, run.metrics_count, run.ended_at is not None) == (RunState.FINISHED, 2, True)


def test_artifacts_and_figures_stay_with_it(run, finish, artifact):
    finish(run, artifacts=[("model/model.safetensors", artifact, "x/y")], figures={"rows": 3})
    run.refresh_from_db()
    assert run.artifacts.values_list("path", "artifact", "size").get() == ("model/model.safetensors", "a" * 64, 5)
    assert run.figures == {"rows": 3}


def test_the_edge_leads_from_the_job(run, finish):
    finish(run)
    edge = Edge.objects.filter(source_type="job", source_id=str(run.job_id), target_type="run").get()
    assert (edge.target_id, edge.target_digest) == (run.pk, run.metrics_digest)


@pytest.mark.parametrize(("state", "action"), [("failed", "run.fail"), ("killed", "run.kill")])
def test_without_success_there_is_no_edge(run, finish, state, action):
    finish(run, state, reason="It broke.")
    assert '"reason":"It broke."' in AuditRecord.objects.get(action=action).body
    assert not Edge.objects.exists()


def test_twice_is_refused(run, finish):
    twin = copy.copy(run)
    finish(run)
    with pytest.raises(StaleState):
        finish(twin)
    with pytest.raises(IllegalMove):
        finish(run)


def test_a_late_twin_closes_nothing(run, finish, job, start, next_attempt):
    twin = copy.copy(run)
    start(next_attempt(job))
    with pytest.raises(StaleState):
        finish(twin)


def test_only_a_worker_closes(actor_for, engineer, run):
    with pytest.raises(Refused):
        services.finish_run(actor=actor_for(engineer), run=run, state="finished")


def test_what_the_machine_did_is_no_part_of_the_digest(start, log, finish):
    with_it, without = start(name="a"), start(name="b")
    for run in (with_it, without):
        log(run, loss=[3, 2], **{"systematic/error": [1]})
    log(with_it, **{"system/cpu_utilization_percentage": [40, 50, 60]})
    ended = [finish(run) for run in (with_it, without)]
    assert ended[0].metrics_digest == ended[1].metrics_digest
    assert [run.metrics_count for run in ended] == [3, 3]
