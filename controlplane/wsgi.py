import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
django = get_wsgi_application()

from django.conf import settings  # noqa: E402 - the settings are ready now

from controlplane.fast_path.protocols import find_protocol, handle_fast  # noqa: E402
from controlplane.request_timeout import limit_statements, limit_time  # noqa: E402

limit_statements()


def application(environ, start_response):
    """The WSGI application: the fast path for its addresses (fast_path/protocols.py), Django for all others."""
    protocol = find_protocol(environ["PATH_INFO"][1:])
    with limit_time(settings.REQUEST_SECONDS):
        return handle_fast(environ, start_response, protocol) if protocol else django(environ, start_response)
