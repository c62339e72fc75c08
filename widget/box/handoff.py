"""Hands an unanswered question over to people through the team's webhook."""

import logging
from typing import Any

import httpx
from pydantic import SecretStr

from widget.service.store import NewQuestion
from widget.text.mrkdwn import escaped

log = logging.getLogger(__name__)

TIMEOUT = 10.0


class NotSent(Exception):
    """The webhook rejected it; the message is for the reader."""


SORRY = "Your question could not be handed on just now. Please try again in a moment."


async def send(webhook: SecretStr, asked: NewQuestion, answer: str) -> None:
    """POST the question as JSON. Raises NotSent.

    Besides the fields, `text` contains everything: incoming webhooks of Slack and Mattermost show
    only it. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """
    body = _body(asked, answer)
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            response = await client.post(webhook.get_secret_value(), json=body)
            response.raise_for_status()
    except httpx.HTTPStatusError as error:
        # Not the error's own text: it contains the address, which is a secret.
        log.warning("the webhook answered %s: %.300r", error.response.status_code, response.text)
        raise NotSent(SORRY) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("the webhook cannot be reached: %s", type(error).__name__)
        raise NotSent(SORRY) from None


def _body(asked: NewQuestion, answer: str) -> dict[str, Any]:
    asker = asked.person or "a reader"
    quoted = [f"> {escaped(line)}" for line in asked.question.split("\n")]
    lines = [f"The docs do not answer {escaped(asker)}:", *quoted]
    if asked.page:
        lines.append(f"Asked on {escaped(asked.page)}")
    return {
        "text": "\n".join(lines),
        "id": asked.id,
        "question": asked.question,
        "quote": asked.quote,
        "answer": answer,
        "page": asked.page,
        "person": asked.person,
        "team": asked.team,
    }
