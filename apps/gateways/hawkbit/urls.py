"""The device API for those who come through Django's urls; controlplane/wsgi.py leads past them."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from apps.gateways.hawkbit.addresses import ADDRESS
from apps.gateways.hawkbit.dispatcher import dispatch_request


@csrf_exempt
@login_not_required
def hawkbit(request: HttpRequest, **names: str) -> HttpResponseBase:
    return dispatch_request(request, request.path_info[1:])


urlpatterns = [re_path(rf"^{ADDRESS.pattern}\Z", hawkbit, name="hawkbit")]
