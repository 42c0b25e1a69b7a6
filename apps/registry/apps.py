from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "apps.registry"

    def ready(self) -> None:
        """Jobs know nothing of evaluation sets: what one measures goes into a job's spec through this table."""
        from apps.jobs.submission import COMPLETED
        from apps.registry.evaluation_sets import completed_spec, registered_by_client

        COMPLETED["evaluation"] = completed_spec
        COMPLETED["version"] = registered_by_client
