from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    name = "apps.fleet.releases"

    def ready(self) -> None:
        """Load the checks of a deployment."""
        from apps.fleet.releases import checks  # noqa: F401  registers itself
