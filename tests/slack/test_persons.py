"""Whose pages an answer in Slack may stand on."""

import json
from pathlib import Path
from typing import Any

import pytest

from widget.access.people import People
from widget.slack.persons import Persons

ADA = {
    "team_id": "T1",
    "is_email_confirmed": True,
    "profile": {"email": "Ada@example.com"},
}


class Client:
    """Slack's answer to users.info."""

    def __init__(self, user: dict[str, Any]) -> None:
        self.user = user
        self.asked = 0

    async def users_info(self, user: str) -> dict[str, Any]:
        self.asked += 1
        return {"user": self.user}


def persons(tmp_path: Path, user: dict[str, Any], with_file: bool = True) -> tuple[Persons, Client]:
    file = tmp_path / "groups.json"
    file.write_text(json.dumps({"hr": ["ada@example.com"]}))
    client: Any = Client(user)
    return Persons(client, People(file if with_file else None), "T1"), client


async def test_a_direct_message_counts_the_groups_of_a_confirmed_address(tmp_path: Path) -> None:
    found, client = persons(tmp_path, ADA)
    assert await found.groups("U1", "D1") == {"hr", "person:ada@example.com"}
    assert await found.groups("U1", "D1") == {"hr", "person:ada@example.com"}
    assert client.asked == 1


async def test_in_a_channel_everybody_reads_along(tmp_path: Path) -> None:
    found, client = persons(tmp_path, ADA)
    for channel in ("C1", "G1", ""):
        assert await found.groups("U1", channel) == frozenset()
    assert client.asked == 0


@pytest.mark.parametrize(
    "change",
    [
        {"team_id": "T2"},
        {"is_stranger": True},
        {"is_restricted": True},
        {"is_ultra_restricted": True},
        {"deleted": True},
        {"is_bot": True},
        {"is_email_confirmed": False},
        {"profile": {}},
    ],
)
async def test_guests_strangers_and_unconfirmed_addresses_have_no_groups(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    found, _ = persons(tmp_path, {**ADA, **change})
    assert await found.groups("U1", "D1") == frozenset()


async def test_without_a_file_nobody_is_looked_up(tmp_path: Path) -> None:
    found, client = persons(tmp_path, ADA, with_file=False)
    assert await found.groups("U1", "D1") == frozenset()
    assert client.asked == 0
