from django.apps import AppConfig


class EndpointsConfig(AppConfig):
    name = "apps.ml.endpoints"

    def ready(self) -> None:
        """Register what the registry cannot import: the versions that endpoints serve."""
        from apps.ml.endpoints.citations import find_version_use
        from apps.ml.registry.services.deletion_guards import VERSION_USES

        VERSION_USES.register("endpoints", find_version_use)
