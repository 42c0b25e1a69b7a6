"""One person who wants to approve alone: M1, M2, L2, L7."""

from __future__ import annotations

from contextlib import suppress

import httpx

from controlplane.rest_client import ApiError, PlaneClient
from tests.attacks.target import MLFLOW, PASSWORD, PROJECT, Outcome, Target

REFUSED = (400, 403, 422)
ALIASES = ("ｐroduction", "рroduction", "prоduction", "ΡRODUCTION", "produc\u200btion", "Production")


def approve_after_reset(target: Target) -> Outcome:
    """M1: the system administrator resets the approver's password, logs in with it, and votes."""
    approval = target.request_promotion(target.token("read,models:write"))
    administrator = target.session("sysadmin")
    answer = target.call_as(administrator, "POST", "/api/v1/users/approver/reset-password")
    if answer.status_code >= 400:
        return Outcome(False, f"not tried: the reset answered {answer.status_code}")
    target.passwords["approver"] = answer.json()["one_time_password"]
    browser = target.session("approver", password=target.passwords["approver"])
    vote = {"facts_digest": approval["facts_digest"], "reason": "mine", "password": PASSWORD}
    by_session = target.call_as(browser, "POST", f"{PROJECT}/approvals/{approval['id']}/approve", vote)
    page = f"/p/demo/approvals/{approval['id']}"
    token = next((value for name, value in browser.cookies.items() if "csrf" in name), "")
    browser.post(
        f"{page}/decide",
        data={**vote, "decision": "approve", "csrfmiddlewaretoken": token},
        headers={"Referer": f"{target.address}{page}"},
    )
    made = target.call_as(
        browser,
        "POST",
        "/api/v1/tokens",
        {"project": "demo", "name": "mine", "scopes": ["read", "approvals:decide"], "days": 1},
    )
    by_token = 0
    if made.status_code < 400:
        headers = {"Authorization": f"Bearer {made.json()['token']}"}
        url = f"{target.address}{PROJECT}/approvals/{approval['id']}/approve"
        by_token = httpx.post(url, json=vote, headers=headers, timeout=60).status_code
    state = target.plane().get(f"/approvals/{approval['id']}")["state"]
    if state == "pending":
        target.plane().post(f"/approvals/{approval['id']}/withdraw", {"reason": "attack is over"})
    code = by_session.json().get("error", {}).get("code")
    good = state == "pending" and code == "credentials_unconfirmed"
    return Outcome(good, f"by session {by_session.status_code} {code}, by token {by_token}; then {state}")


def approve_own_robot(target: Target) -> Outcome:
    """M2: whoever holds the token of a service account approves what it asked for."""
    system, security = target.session("sysadmin"), target.session("secadmin")
    made = target.call_as(system, "POST", "/api/v1/users", {"username": "both"})
    both = target.session("both", password=made.json()["one_time_password"])
    target.call_as(security, "POST", "/api/v1/users/both/confirm-credentials", {"reason": "met in person"})
    both = target.session("both")
    target.call_as(security, "PUT", f"{PROJECT}/members/both", {"roles": ["engineer", "approver"]})
    target.call_as(security, "POST", f"{PROJECT}/service-accounts", {"name": "robot", "roles": ["engineer"]})
    body = {"name": "night", "scopes": ["read", "models:write"], "days": 1}
    tokens = f"{PROJECT}/service-accounts/robot/tokens"
    nobody = target.call_as(security, "POST", tokens, body)
    given = target.call_as(security, "POST", tokens, {**body, "holder": "both"})
    with suppress(ApiError):
        target.request_promotion(nobody.json()["token"])
        return Outcome(False, "a token without a holder asks for a promotion")
    approval = target.request_promotion(given.json()["token"])
    vote = {"facts_digest": approval["facts_digest"], "reason": "mine", "password": PASSWORD}
    answer = target.call_as(both, "POST", f"{PROJECT}/approvals/{approval['id']}/approve", vote)
    state = target.plane().get(f"/approvals/{approval['id']}")["state"]
    if state == "pending":
        PlaneClient(target.address, given.json()["token"], "demo").post(
            f"/approvals/{approval['id']}/withdraw", {"reason": "attack is over"}
        )
    code = answer.json().get("error", {}).get("code")
    return Outcome(state == "pending" and code == "own_request", f"{answer.status_code} {code}; then {state}")


def move_alias_by_homoglyph(target: Target) -> Outcome:
    """L2: aliases that a person reads as `production`."""
    model = target.model()
    accepted = []
    for alias in ALIASES:
        body = {"name": model, "alias": alias, "version": "1"}
        by_mlflow = target.send("POST", f"{MLFLOW}/registered-models/alias", scopes="read,models:write", json=body)
        by_rest = target.send(
            "PUT",
            f"{PROJECT}/models/{model}/aliases/{alias}",
            scopes="read,models:write",
            json={"version": 1, "reason": "attack"},
        )
        if by_mlflow.status_code not in REFUSED or by_rest.status_code not in REFUSED:
            accepted.append(f"{alias!a} {by_mlflow.status_code} {by_rest.status_code}")
    return Outcome(not accepted, f"accepted: {', '.join(accepted) or 'none'}")


def log_out(target: Target, browser: httpx.Client) -> None:
    token = next((value for name, value in browser.cookies.items() if "csrf" in name), "")
    browser.post("/accounts/logout/", data={"csrfmiddlewaretoken": token}, headers={"Referer": target.address})


def lock_out_others(target: Target) -> Outcome:
    """L7: wrong passwords of a stranger keep out the person who was here before with the same browser."""
    browser = target.session("auditor")
    log_out(target, browser)  # a browser is known by a log-in with the present password
    target.post_form(browser, "/accounts/login/", login="auditor", password=PASSWORD)
    stranger = httpx.Client(base_url=target.address, follow_redirects=True, timeout=60)
    for number in range(35):
        target.post_form(stranger, "/accounts/login/", login="auditor", password=f"wrong {number}")
    log_out(target, browser)
    try:
        target.passwords["auditor"] = PASSWORD
        target.post_form(browser, "/accounts/login/", login="auditor", password=PASSWORD)
        inside = "/login" not in str(browser.get("/account").url)
    except RuntimeError:
        inside = False
    return Outcome(inside, "the browser that is known gets in" if inside else "the right password is refused")
