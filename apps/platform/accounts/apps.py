from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.platform.accounts"

    def ready(self) -> None:
        """Load the checks of a deployment."""
        from apps.platform.accounts.directory import checks  # noqa: F401  registers itself
