from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "apps.ml.registry"

    def ready(self) -> None:
        """Register what the apps below cannot import: what decides a job's figures, what cites and what can be held or
        approved."""
        from django.utils.translation import gettext_lazy

        from apps.ml.experiments.purge.retention import RUN_CITATIONS
        from apps.ml.experiments.workspace.run_data import RUN_MODELS
        from apps.ml.registry.audit_names import name_models, name_versions
        from apps.ml.registry.batch_prediction import check_prediction_inputs, resolve_model_version
        from apps.ml.registry.citations import find_cited_artifacts, find_cited_runs
        from apps.ml.registry.commenting import MODEL_VERSION_COMMENTS
        from apps.ml.registry.evaluations.sets import complete_spec, require_client_version
        from apps.ml.registry.models import ModelVersion
        from apps.ml.registry.promotion.subject import PROMOTION
        from apps.ml.registry.run_versions import find_run_versions
        from apps.ml.registry.states import SUBJECT
        from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
        from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS
        from apps.platform.audit.naming.object_names import OBJECT_NAMES
        from apps.platform.comments.objects import COMMENT_OBJECTS
        from apps.platform.holds.objects import HOLD_OBJECTS, HoldObject
        from apps.platform.jobs.submission import INPUT_CHECKS, SPEC_COMPLETIONS, SPEC_INPUTS

        OBJECT_NAMES.register("model", name_models)
        OBJECT_NAMES.register("modelversion", name_versions)
        SPEC_COMPLETIONS.register("evaluation", complete_spec)
        SPEC_COMPLETIONS.register("version", require_client_version)
        SPEC_INPUTS.register("predict", resolve_model_version)
        INPUT_CHECKS.register("predict", check_prediction_inputs)
        APPROVAL_SUBJECTS.register(SUBJECT, PROMOTION)
        ARTIFACT_CITATIONS.register("registry", find_cited_artifacts)
        RUN_CITATIONS.register("registry", find_cited_runs)
        COMMENT_OBJECTS.register("modelversion", MODEL_VERSION_COMMENTS)
        RUN_MODELS.register("registry", find_run_versions)
        HOLD_OBJECTS.register(
            "modelversion",
            HoldObject(
                model=ModelVersion,
                project_path="model__project",
                label=gettext_lazy("Model version"),
                view_permission="model.view",
                page=("lineage:end", "model_version"),
            ),
        )
