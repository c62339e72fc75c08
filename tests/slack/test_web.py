"""What reaches the door that is open to everybody."""

import json

import pytest

from tests.slack.conftest import Start
from tests.slack.stand_in import signed
from tests.widget.stand_in import Reply, answer
from widget.slack import web

EVENT = '{"type": "event_callback"}'


@pytest.mark.parametrize(
    ("age", "changed"),
    [
        (301, {}),
        (-330, {}),
        (0, signed(EVENT, secret="another")),
        (0, {"x-slack-signature": "v0=0"}),
        (0, {"x-slack-signature": ""}),
        (0, {"x-slack-request-timestamp": "soon"}),
        (0, {"x-slack-request-timestamp": "٣"}),
        (0, {"x-slack-request-timestamp": ""}),
        (0, {"x-slack-request-timestamp": "9" * 400}),
        (0, {"x-slack-request-timestamp": "9" * 5000}),
        (0, {"x-slack-signature": "v0=é"}),
    ],
)
async def test_what_slack_has_not_signed_just_now_is_refused(
    team: Start, age: int, changed: dict[str, str]
) -> None:
    running = await team(Reply(chunks=answer("Yes. ")))
    headers = {**signed(EVENT, age=age), **changed}
    encoded = {name: value.encode() for name, value in headers.items()}
    response = await running.http.post(web.PATH, content=EVENT, headers=encoded)
    assert response.status_code == 401
    assert not running.slack.messages


async def test_a_signature_is_of_the_body_that_came(team: Start) -> None:
    running = await team(Reply(chunks=answer("Yes. ")))
    event = json.dumps(running.slack.mention("How?"))
    response = await running.http.post(web.PATH, content=event + " ", headers=signed(event))
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("body", "status"), [(b"\xff\xfe", 400), (b"[" * 100_000, 400), (b"x" * 1_048_577, 413)]
)
async def test_a_body_that_cannot_be_is_refused(team: Start, body: bytes, status: int) -> None:
    running = await team(Reply(chunks=answer("Yes. ")))
    headers = {**signed(""), "content-type": "application/json"}
    assert (await running.http.post(web.PATH, content=body, headers=headers)).status_code == status


async def test_slack_can_check_the_address(team: Start) -> None:
    running = await team(Reply(chunks=answer("Yes. ")))
    body = json.dumps({"type": "url_verification", "challenge": "c3p0"})
    sent = {**signed(body), "content-type": "application/json"}
    response = await running.http.post(web.PATH, content=body, headers=sent)
    assert (response.status_code, response.json()) == (200, {"challenge": "c3p0"})
