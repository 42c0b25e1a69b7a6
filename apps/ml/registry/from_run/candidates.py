"""What of a run can become a model version. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.experiments.states import LoggedModelState
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Project
from apps.platform.jobs.input_sources import SOURCES
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.states import JobState

REGISTER = "register"  # the kind of job that makes a version of a trained form
TRAINED_SLOTS = {
    f"fp32{ending}": slot for ending, slot in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))
}
"""{input of the register job: output of the training job}"""
MAX_LOGGED_MODELS = 20
MAX_MODELS = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """Either the outputs of the run's training job, or models that a client logged; both empty: nothing."""

    job_id: int | None = None
    logged_models: list[LoggedModel] = field(default_factory=list)
    needs_forms: bool = False  # a form that goes with the one that was trained: the form of a register job takes both

    def __bool__(self) -> bool:
        return self.job_id is not None or bool(self.logged_models)


def find_candidates(run: Run) -> Candidates:
    """What `run`, whose job is loaded, can be registered from. One query."""
    if run.deleted_at is not None:
        return Candidates()
    if run.job is None:
        logged = LoggedModel.objects.filter(source_run=run, deleted_at=None, state=LoggedModelState.READY)
        return Candidates(logged_models=list(logged.order_by("-created_at", "id")[:MAX_LOGGED_MODELS]))
    sources = SOURCES[REGISTER]
    if run.job.state != JobState.SUCCEEDED:
        return Candidates()
    if run.kind not in sources["fp32"][0]:
        return Candidates(needs_forms=any(run.kind in kinds for kinds, _ in sources.values()))
    slots = set(JobOutput.objects.filter(job=run.job, slot__in=TRAINED_SLOTS.values()).values_list("slot", flat=True))
    return Candidates(job_id=run.job_id) if slots == set(TRAINED_SLOTS.values()) else Candidates()


def list_model_names(actor: Actor, project: Project) -> list[str]:
    """The models of the project, the last touched first: a new version of one is the usual case."""
    if not policy.is_allowed(actor, "model.view", project):
        return []
    models = Model.objects.visible_to(actor).filter(project=project)
    return list(models.order_by("-touched_at", "-id").values_list("name", flat=True)[:MAX_MODELS])
