import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
django = get_wsgi_application()

from django.conf import settings  # noqa: E402 - the settings are ready now

from controlplane.api_fast_path import handle_fast, is_mine  # noqa: E402
from controlplane.request_timeout import limit_statements, limit_time  # noqa: E402

limit_statements()


def application(environ, start_response):
    """The WSGI application: the fast path for its addresses (api_fast_path.py), Django for all others."""
    with limit_time(settings.REQUEST_SECONDS):
        return (handle_fast if is_mine(environ["PATH_INFO"][1:]) else django)(environ, start_response)
