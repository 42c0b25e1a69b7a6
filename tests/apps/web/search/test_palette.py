"""What the command palette offers, by role, project and words."""

import pytest

from apps.fleet.devices.models import Device
from apps.platform.accounts.models import Membership
from apps.web.search.commands import list_commands

pytestmark = pytest.mark.services
HTMX = {"HX-Request": "true"}


def get_titles(client, query: str = "") -> list[str]:
    answer = client.get(f"/palette{query}", headers=HTMX)
    assert answer.status_code == 200
    return [command.title for command in answer.context["commands"]]


def test_without_words_it_offers_what_can_be_begun(engineer, viewer, web, project):
    assert get_titles(web(engineer))[:4] == ["New job", "Upload data", "Train a model", "New sweep"]
    assert not {"New job", "Upload data"} & set(get_titles(web(viewer)))


@pytest.mark.parametrize(
    ("query", "title"),
    [("?q=appr", "Approvals"), ("?q=JOBS+demo", "Jobs"), ("?q=fine-tune", "New job: Fine-tune a language model")],
)
def test_words_find_pages_actions_and_projects(query, title, engineer, web, project):
    client = web(engineer)
    assert get_titles(client, query)[0] == title
    assert f"Project {project.name}" in get_titles(client, f"?q={project.slug}+project")


def test_the_project_of_the_page_comes_first(engineer, web, project, other_project):
    Membership.objects.create(project=other_project, user=engineer, role="engineer")
    answer = web(engineer).get(f"/palette?q=models&in={other_project.slug}", headers=HTMX)
    assert [command.project for command in answer.context["commands"]][:2] == [other_project.slug, project.slug]


def test_a_role_is_offered_what_it_may_open(auditor, secadmin, actor_for, project):
    titles = [command.title for command in list_commands(actor_for(auditor), [project], ["a"])]
    assert "Audit" in titles
    assert "Models" not in titles
    assert "Audit" not in [command.title for command in list_commands(actor_for(secadmin), [project], ["audit"])]


def test_devices_are_found_by_name(engineer, stranger, web, project):
    Device.objects.create(project=project, name="pump-07", token_digest="1" * 64, created_by="engineer")
    assert "pump-07" in web(engineer).get("/palette?q=mp-07", headers=HTMX).content.decode()
    assert "pump-07" not in web(stranger).get("/palette?q=mp-07", headers=HTMX).content.decode()


def test_in_chinese_the_english_word_finds_too(engineer, web, project):
    client = web(engineer)
    client.cookies["django_language"] = "zh-hans"
    assert get_titles(client, "?q=approvals") == get_titles(client, "?q=审批")


def test_without_script_it_leads_to_the_search(engineer, web, project):
    assert web(engineer).get("/palette?q=wti")["Location"] == "/search?q=wti"
