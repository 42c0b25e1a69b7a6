from django.apps import AppConfig


class SweepsConfig(AppConfig):
    name = "apps.ml.sweeps"

    def ready(self) -> None:
        """Register what the apps below cannot import: the artifacts and versions that a running sweep needs."""
        from apps.data.datasets.versions.citations import VERSION_CITATIONS
        from apps.ml.sweeps.citations import find_cited_artifacts, find_version_citations
        from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS

        ARTIFACT_CITATIONS.register("sweeps", find_cited_artifacts)
        VERSION_CITATIONS.register("sweeps", find_version_citations)
