import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
django = get_wsgi_application()

from controlplane.lean import is_mine, lean  # noqa: E402 - the settings are ready now


def application(environ, start_response):
    """Django, but for the addresses that have a shorter way."""
    return (lean if is_mine(environ["PATH_INFO"][1:]) else django)(environ, start_response)
