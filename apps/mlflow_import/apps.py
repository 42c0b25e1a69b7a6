from django.apps import AppConfig


class MlflowImportConfig(AppConfig):
    name = "apps.mlflow_import"
