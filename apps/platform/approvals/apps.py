from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "apps.platform.approvals"
