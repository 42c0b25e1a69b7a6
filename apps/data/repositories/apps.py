from django.apps import AppConfig


class RepositoriesConfig(AppConfig):
    name = "apps.data.repositories"

    def ready(self) -> None:
        """Datasets know nothing of Git: a version gets its commit through this registry."""
        from apps.data.datasets.versions.commits import COMMIT_RECORDERS
        from apps.data.repositories.history import record_commit

        COMMIT_RECORDERS.register("repositories", record_commit)
