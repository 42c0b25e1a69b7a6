"""REST answers in English, whatever language is asked for."""

import json
import re
from contextlib import suppress

import pytest
from django.db.models.functions import Now

from apps.platform.nodes.models import Node
from tests import walking

EXAMPLE = "2026年1月31日"  # in the doc of a field
CHINESE = re.compile("[\u4e00-\u9fff]")
LANGUAGE = {"HTTP_ACCEPT_LANGUAGE": "zh-hans"}
BROKEN = "?made_after=zzz&state=zzz&cursor=zzz&limit=zzz&order=zzz&sort=zzz&kind=zzz"


def chinese_in(answer) -> str:
    """What stands around the first Chinese character; empty without one."""
    text = b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()
    with suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    text = text.replace(EXAMPLE, "")
    found = CHINESE.search(text)
    return text[max(0, found.start() - 60) : found.end() + 60] if found else ""


@pytest.mark.django_db
def test_refused_filters_and_the_wait(api, engineer, project):
    client = api(engineer)
    job = walking.job_of(project, "queued", 1)
    job.save()
    for query in ("", f"/{job.pk}", "?made_after=zzz", "?state=zzz", "?priority=zzz", "?order=zzz"):
        answer = client.get(f"/api/v1/projects/demo/jobs{query}", **LANGUAGE)
        assert chinese_in(answer) == ""


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["", BROKEN])
def test_every_operation(settings, tmp_path, query):
    settings.PLANE_HOME = tmp_path
    plane = walking.first_rows()
    Node.objects.update(heartbeat_at=Now())
    people, found = walking.visitors(), set()
    for route in walking.routes():
        if not route.startswith("api/v1/") or walking.left_out(route):
            continue
        address = walking.address(route, plane)
        address = address.partition("?")[0] + query if query else address
        answers = [visitor.client.get(address, **LANGUAGE) for visitor in people[:2]]
        answers.append(people[0].client.post(address, "{}", content_type="application/json", **LANGUAGE))
        found |= {(address, text) for answer in answers if (text := chinese_in(answer))}
    assert found == set()
