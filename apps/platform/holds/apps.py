from django.apps import AppConfig


class HoldsConfig(AppConfig):
    name = "apps.platform.holds"

    def ready(self) -> None:
        """Artifacts lie below this app, so it registers them as what can be held."""
        from django.utils.translation import gettext_lazy

        from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS
        from apps.platform.artifacts.models import Artifact
        from apps.platform.holds.citations import cited_artifacts
        from apps.platform.holds.objects import HOLD_OBJECTS, HoldObject

        ARTIFACT_CITATIONS.register("holds", cited_artifacts)
        HOLD_OBJECTS.register(
            "artifact",
            HoldObject(
                model=Artifact,
                project_path="holdings__project",
                label=gettext_lazy("Artifact"),
                view_permission="artifact.view",
                page=("lineage:end", "artifact"),
            ),
        )
