"""A captcha before the first question, against a service that speaks as Turnstile does."""

import dataclasses
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import SettingsError
from core.settings import load
from tests.widget.conftest import Box
from tests.widget.stand_in import Reply, answer, serve
from widget.access import captcha
from widget.box import asking
from widget.settings import WidgetSettings

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
SETTINGS = {"captcha": "turnstile", "captcha_site_key": "site", "captcha_secret": "shh"}


class Service:
    """siteverify; `right` solves it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.broken = False
        self.app = Starlette(routes=[Route("/siteverify", self.verify, methods=["POST"])])

    async def verify(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.asked.append(form)
        if self.broken:
            return Response("<h1>down</h1>", 503)
        errors = [] if form["response"] == "right" else ["invalid-input-response"]
        return JSONResponse({"success": not errors, "error-codes": errors})


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    running = Service()
    with serve(running.app) as url:
        real = captcha.SERVICES["turnstile"]
        ours = dataclasses.replace(real, verify=f"{url}/siteverify")
        monkeypatch.setattr(captcha, "SERVICES", {"turnstile": ours})
        yield running


def test_the_first_question_needs_a_captcha_and_the_next_ones_do_not(
    box: Callable[..., Box], service: Service
) -> None:
    running = box(Reply(chunks=answer("Yes.")), **SETTINGS)
    field = "cf-turnstile-response"
    for wrong in ({}, {field: "wrong"}):
        response = running.post("asks", HTMX, question="How?", **wrong)
        assert response.status_code == 403
        assert "you are a person" in response.text
    response = running.post("asks", HTMX, question="How?", **{field: "right"})
    assert response.status_code == 200
    assert service.asked[-1] == {"secret": "shh", "response": "right", "remoteip": "127.0.0.1"}
    token = re.findall(r'name="token" value="([^"]+)"', response.text)[0]
    assert running.post("asks", HTMX, question="And?", token=token).status_code == 200
    # Renewed, it still says so; of another page, it does not.
    renewed = httpx.post(f"{running.url}/token", data={"token": token}).json()["token"]
    assert running.post("asks", HTMX, question="And?", token=renewed).status_code == 200
    assert len(service.asked) == 2


def test_a_solution_is_taken_once_and_for_an_hour(
    box: Callable[..., Box], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = box(Reply(chunks=answer("Yes.")), **SETTINGS)
    solved = {"cf-turnstile-response": "right"}
    response = running.post("asks", HTMX, question="How?", **solved)
    token = re.findall(r'name="token" value="([^"]+)"', response.text)[0]
    # The service here takes it again and again: it is ours to remember.
    assert running.post("asks", HTMX, question="How?", **solved).status_code == 403
    assert len(service.asked) == 1
    monkeypatch.setattr(asking, "SOLVED", -1)
    for _ in range(2):  # renewing does not prolong it
        token = httpx.post(f"{running.url}/token", data={"token": token}).json()["token"]
        refused = running.post("asks", HTMX, question="How?", token=token)
        assert refused.status_code == 403
        assert "you are a person" in refused.text


def test_a_solution_that_many_share_counts_as_one_visitor(
    box: Callable[..., Box], service: Service
) -> None:
    running = box(
        Reply(chunks=answer("Yes.")),
        asks_per_minute=2,
        trusted_proxies=("127.0.0.1",),
        **SETTINGS,
    )
    response = running.post("asks", HTMX, question="How?", **{"cf-turnstile-response": "right"})
    token = re.findall(r'name="token" value="([^"]+)"', response.text)[0]
    statuses = [
        running.post(
            "asks", {**HTMX, "x-forwarded-for": f"203.0.113.{n}"}, question="How?", token=token
        ).status_code
        for n in range(3)
    ]
    assert statuses == [200, 200, 429]


def test_a_service_that_is_away_is_said_to_be(box: Callable[..., Box], service: Service) -> None:
    running = box(Reply(chunks=answer("Yes.")), **SETTINGS)
    service.broken = True
    response = running.post("asks", HTMX, question="How?", **{"cf-turnstile-response": "right"})
    assert response.status_code == 403
    assert "The captcha is unavailable" in response.text


def test_the_policy_allows_the_service_and_nobody_else(box: Callable[..., Box]) -> None:
    page = httpx.get(f"{box(Reply(), **SETTINGS).url}/box")
    assert 'class="cf-turnstile" data-sitekey="site"' in page.text
    assert "https://challenges.cloudflare.com/turnstile/v0/api.js" in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' https://challenges.cloudflare.com;" in policy
    assert "frame-src 'self' https://challenges.cloudflare.com;" in policy


def test_a_captcha_without_its_keys_is_a_mistake_that_names_them() -> None:
    with pytest.raises(SettingsError, match="ASKDOCS_WIDGET_CAPTCHA_SECRET"):
        load(WidgetSettings, env={"ASKDOCS_WIDGET_CAPTCHA": "hcaptcha"})
