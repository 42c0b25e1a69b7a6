from django.apps import AppConfig


class LineageConfig(AppConfig):
    name = "apps.platform.lineage"

    def ready(self) -> None:
        from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS
        from apps.platform.lineage.citations import cited_artifacts

        ARTIFACT_CITATIONS.register("lineage", cited_artifacts)
