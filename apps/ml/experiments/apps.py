from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "apps.ml.experiments"

    def ready(self) -> None:
        """Register what can be held and commented on, and names for the audit trail."""
        from django.utils.translation import gettext_lazy

        from apps.ml.experiments.audit_names import name_experiments, name_runs
        from apps.ml.experiments.commenting import RUN_COMMENTS
        from apps.ml.experiments.models import Experiment, LoggedModel, Run
        from apps.platform.audit.naming.object_names import OBJECT_NAMES
        from apps.platform.comments.objects import COMMENT_OBJECTS
        from apps.platform.holds.objects import HOLD_OBJECTS, HoldObject

        COMMENT_OBJECTS.register("run", RUN_COMMENTS)
        OBJECT_NAMES.register("run", name_runs)
        OBJECT_NAMES.register("experiment", name_experiments)
        for key, model, label, page in (
            ("run", Run, gettext_lazy("Run"), ("experiments:detail",)),
            ("experiment", Experiment, gettext_lazy("Experiment"), ()),
            ("loggedmodel", LoggedModel, gettext_lazy("Logged model"), ("experiments:logged_model",)),
        ):
            HOLD_OBJECTS.register(
                key,
                HoldObject(model=model, project_path="project", label=label, view_permission="run.view", page=page),
            )
