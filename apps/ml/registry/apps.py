from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "apps.ml.registry"

    def ready(self) -> None:
        """Jobs know nothing of evaluation sets: what one measures goes into a job's spec through this table."""
        from apps.ml.registry.evaluations.sets import complete_spec, require_client_version
        from apps.platform.jobs.submission import COMPLETED

        COMPLETED["evaluation"] = complete_spec
        COMPLETED["version"] = require_client_version
