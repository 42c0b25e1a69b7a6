from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "apps.platform.audit"

    def ready(self) -> None:
        from apps.platform.audit import checks, receivers  # noqa: F401  both register themselves
