"""What the apps register with those below them. A key that is lost here is lost silently in the product."""

from __future__ import annotations

import pytest

from apps.core.policy import PROJECT_ACTIONS
from apps.data.datasets.versions.citations import VERSION_CITATIONS
from apps.data.datasets.versions.commits import COMMIT_RECORDERS
from apps.data.datasets.versions.masked_columns import MASKED_COLUMNS
from apps.ml.experiments.purge.retention import RUN_CITATIONS
from apps.ml.experiments.workspace.run_data import RUN_MODELS
from apps.ml.registry.promotion.evidence import PROMOTION_EVIDENCE
from apps.ml.registry.services.deletion_guards import VERSION_USES
from apps.platform.accounts.models import Project
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
from apps.platform.artifacts.downloads import DOWNLOAD_CHECKS
from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS
from apps.platform.calendars.targets import SCHEDULE_TARGETS
from apps.platform.comments.objects import COMMENT_OBJECTS
from apps.platform.holds.objects import HOLD_OBJECTS
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.scheduling.input_facts import INPUT_FACTS
from apps.platform.jobs.submission import INPUT_CHECKS, SPEC_COMPLETIONS, SPEC_INPUTS
from apps.platform.jobs.table_columns import TABLE_COLUMNS
from apps.platform.notices.kinds import NOTICE_KINDS

HELD = {"artifact", "datasetversion", "experiment", "loggedmodel", "modelversion", "observationsource", "run"}


@pytest.mark.parametrize(
    ("registry", "keys"),
    [
        (ARTIFACT_CITATIONS, {"holds", "lineage", "registry", "schedules", "sweeps"}),
        (RUN_CITATIONS, {"registry"}),
        (RUN_MODELS, {"registry"}),
        (COMMENT_OBJECTS, {"approval", "datasetversion", "modelversion", "run"}),
        (VERSION_USES, {"endpoints", "rollouts"}),
        (VERSION_CITATIONS, {"sweeps"}),
        (COMMIT_RECORDERS, {"repositories"}),
        (APPROVAL_SUBJECTS, {"bundle", "bundle_signer", "federation", "promotion", "rollout"}),
        (SPEC_COMPLETIONS, {"dataset", "evaluation", "version"}),
        (SPEC_INPUTS, {"evaluate", "merge_adapter", "predict", "script", "train_image", "train_language"}),
        (INPUT_CHECKS, {"predict"}),
        (TABLE_COLUMNS, {"datasets"}),
        (DOWNLOAD_CHECKS, {"personal_data"}),
        (MASKED_COLUMNS, {"personal_data"}),
        (INPUT_FACTS, {"datasets"}),
        (HOLD_OBJECTS, HELD),
        (
            NOTICE_KINDS,
            {
                "alarm.opened",
                "approval.ended",
                "approval.remarked",
                "approval.requested",
                "comment.mentioned",
                "emergency.ended",
                "emergency.granted",
                "emergency.requested",
                "job.failed",
                "labelling.below_bar",
                "labelling.disputed",
                "labelling.failing",
                "study.ended",
                "site_study.ended",
                "site_study.void",
                "recall.ended",
                "recall.started",
                "retraining.failed",
                "schedule.failed",
                "security_alarm.raised",
                "snapshot.damaged",
                "rollout.ended",
                "rollout.held",
                "webhook.disabled",
            },
        ),
        (PROMOTION_EVIDENCE, {"retraining"}),
        (SCHEDULE_TARGETS, {"evidence", "job", "pipeline", "probe", "restore_drill", "snapshot", "snapshot_verify"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_registry_is_filled(registry, keys):
    assert set(registry) == keys


def test_completions_are_of_what_jobs_register():
    assert set(SPEC_COMPLETIONS) <= {key for kind in KINDS.values() for key in kind.registers}


@pytest.mark.parametrize("held", HOLD_OBJECTS.values(), ids=HOLD_OBJECTS)
def test_what_can_be_held_has_a_path_to_its_project_and_a_permission(held):
    assert str(held.query_rows(Project(pk=1)).query)
    assert held.view_permission in PROJECT_ACTIONS
