"""From the address of a page to its project: what its reader may not see is not there."""

import pytest
from django.test import RequestFactory

from apps.core.errors import NotFound
from apps.platform.accounts import projects
from apps.platform.accounts.projects import get_project_context, get_visible_projects


@pytest.fixture
def page_request(engineer, actor_for):
    request = RequestFactory().get("/p/demo/jobs")
    request.actor = actor_for(engineer)
    return request


def test_a_page_gets_the_actor_and_the_project_that_its_frame_shows(page_request, project):
    assert get_project_context(page_request, project.slug) == (page_request.actor, project)
    assert page_request.project == project


def test_the_frame_of_the_page_reads_no_project_again(page_request, project, django_assert_num_queries):
    with django_assert_num_queries(1):
        get_project_context(page_request, project.slug)
        get_visible_projects(page_request)


def test_a_project_beyond_those_of_the_switcher_is_found(page_request, project, monkeypatch):
    monkeypatch.setattr(projects, "MAX_PROJECTS", 0)
    assert get_project_context(page_request, project.slug)[1] == project


def test_the_project_of_others_and_an_unknown_one_are_not_found(page_request, other_project):
    for slug in (other_project.slug, "no-such"):
        with pytest.raises(NotFound) as caught:
            get_project_context(page_request, slug)
        assert caught.value.field == "project"
    assert not hasattr(page_request, "project")
