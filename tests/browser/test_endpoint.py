"""An endpoint by its pages: created, tried, and followed while its alias moves by an approval."""

from playwright.sync_api import expect

CALL = "from tests.faults import served_models as m; print(m.{call})"


def test_an_approval_reaches_the_endpoint(page, watch, sign_in_as, plane, run_code):
    run_code(CALL.format(call="register('served', 1)"))
    run_code(CALL.format(call="promote('served', 1)"))
    sign_in_as(watch(page, answers=(422,)), "engineer")
    for _ in range(60):  # the worker may not have registered its node yet
        page.goto(f"{plane}/p/demo/endpoints")
        if page.locator("[name=nodes]").input_value():
            break
        page.wait_for_timeout(500)
    page.locator("[name=name]").last.fill("Served!")
    page.locator("select[name=model]").select_option("served@production")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".err:visible").first).to_contain_text("cannot be a name")
    page.locator("[name=name]").last.fill("served")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("[data-part=state]")).to_contain_text("Serving")
    page.locator("[name=f0]").fill("1.5")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("HTTP 200, version 1")).to_be_visible()
    run_code(CALL.format(call="register('served', 2)"))
    approval = run_code(CALL.format(call="promote('served', 2)")).strip()
    expect(page.locator("[data-part=answer]")).to_contain_text("points to version 2")
    expect(page.locator("[data-part=servers] tbody td[data-l=Version]")).to_have_text("2")
    expect(page.locator("[data-part=approval]")).to_contain_text(f"#{approval}")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("HTTP 200, version 2")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
