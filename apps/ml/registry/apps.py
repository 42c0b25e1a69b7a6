from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "apps.ml.registry"

    def ready(self) -> None:
        """Jobs know nothing of evaluation sets: what one measures goes into a job's spec through this table."""
        from apps.ml.registry.evaluations.sets import completed_spec, registered_by_client
        from apps.platform.jobs.submission import COMPLETED

        COMPLETED["evaluation"] = completed_spec
        COMPLETED["version"] = registered_by_client
