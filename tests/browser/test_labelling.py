"""The pages of a labelling project: what is agreed, a decision by keyboard, the next level."""

from playwright.sync_api import expect

from tests.browser.conftest import list_wide_pages
from tests.browser.test_accessibility import find_grave


def test_a_disputed_task_is_decided_and_the_next_level_begins(signed_in, plane, run_code):
    pk = int(run_code("from tests.browser import labellings; print(labellings.create_disputed_labelling())"))
    page = signed_in("engineer")
    project, task = f"{plane}/p/demo/labelling/{pk}", f"{plane}/p/demo/labelling/{pk}/tasks/2"
    page.goto(project)
    expect(page.locator("main")).to_contain_text("0.720")
    assert find_grave(page) == []
    page.locator('a[href$="/tasks/2"]').press("Enter")
    expect(page).to_have_url(task)
    assert find_grave(page) == []
    relation = page.locator('input[name="relation"]')
    expect(relation).not_to_be_checked()
    page.locator('input[name="span"]').first.press("Space")
    relation.press("Space")
    page.locator('input[name="note"]').press("Enter")
    expect(page).to_have_url(project)
    page.goto(task)
    expect(page.locator(".marked").first).to_be_visible()
    expect(page.locator("li").filter(has_text="Ian Boston – works_for → Adobe").first).to_be_visible()
    assert list_wide_pages(page, [project, task]) == []
    page.goto(project)
    page.locator('a[href*="parent=credits"]').click()
    expect(page.locator('select[name="/parent"], select[name="parent"]')).to_have_value("credits")
    expect(page.locator('select[name="/schema"], select[name="schema"]')).to_have_value("risks:v1")
