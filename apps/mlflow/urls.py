"""MLflow's addresses for those who come through Django's urls; controlplane/wsgi.py leads past them."""

from __future__ import annotations

import re

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from apps.mlflow.entry import answer

PREFIXES = ("api/2.0/", "ajax-api/2.0/", "api/3.0/")
ALONE = ("version", "health", "get-artifact")


@csrf_exempt
@login_not_required
def mlflow(request: HttpRequest) -> HttpResponseBase:
    return answer(request, request.path_info[1:])


urlpatterns = [re_path(rf"^(?:{'|'.join(map(re.escape, PREFIXES))}|(?:{'|'.join(ALONE)})\Z)", mlflow, name="mlflow")]
