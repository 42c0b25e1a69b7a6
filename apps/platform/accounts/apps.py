from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.platform.accounts"

    def ready(self) -> None:
        """Load the checks of a deployment; register the names of projects and people."""
        from apps.platform.accounts.audit_names import name_projects, name_users
        from apps.platform.accounts.directory import checks  # noqa: F401  registers itself
        from apps.platform.audit.naming.object_names import OBJECT_NAMES

        OBJECT_NAMES.register("project", name_projects)
        OBJECT_NAMES.register("user", name_users)
