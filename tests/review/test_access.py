"""Who may review, over HTTP."""

import hashlib
import hmac
import time

import jwt
import pytest
from itsdangerous import URLSafeTimedSerializer

from core.database import Unreachable
from core.errors import SettingsError
from core.settings import load
from tests.review.conftest import Start
from widget.review import access
from widget.settings import WidgetSettings


def test_the_link_of_the_machine_lets_its_owner_in_once_and_for_all(start: Start) -> None:
    client = start()
    assert "Paste the link of the review, or the key in it" in client.get("/review").text
    assert client.get("/review").status_code == 401
    wrong = client.get("/review", params={"key": "x"})
    assert wrong.status_code == 403
    assert not client.cookies
    key = access.key(WidgetSettings(gateway_key="ask-test"))
    entered = client.get("/review", params={"key": key})
    assert entered.status_code == 303
    assert entered.headers["location"] == "review"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "ask-test" not in cookie
    queue = client.get("/review")
    assert queue.status_code == 200
    assert "How do I print?" in queue.text
    assert queue.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("pasted", ["{}", " {} ", "http://127.0.0.1:8080/review?key={}"])
def test_the_key_or_its_link_can_be_pasted_into_a_field(start: Start, pasted: str) -> None:
    client = start()
    asked = client.get("/review")
    assert '<input id="key" name="key" type="password"' in asked.text
    wrong = client.post("/review", data={"key": "nonsense"})
    assert wrong.status_code == 403
    assert 'name="key"' in wrong.text
    key = access.key(WidgetSettings(gateway_key="ask-test"))
    entered = client.post("/review", data={"key": pasted.format(key)})
    assert (entered.status_code, entered.headers["location"]) == (303, "review")
    assert client.get("/review").status_code == 200
    cross = {"sec-fetch-site": "cross-site"}
    assert client.post("/review", data={"key": key}, headers=cross).status_code == 403


def test_the_token_of_a_sign_in_can_be_pasted_and_counts_for_half_a_day(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a secret of at least thirty-two bytes"
    client = start(**tokens(secret), reviewers=("ann@example.com",))
    assert 'name="key"' in client.get("/review").text
    for token, status, said in (
        ("nonsense", 401, "was not accepted"),
        (signed(secret, "bob@example.com"), 403, "bob@example.com"),
        (access.key(WidgetSettings(gateway_key="ask-test")), 401, "was not accepted"),
    ):
        refused = client.post("/review", data={"key": token})
        assert (refused.status_code, said in refused.text) == (status, True)
        assert client.get("/review").status_code == 401
    entered = client.post("/review", data={"key": signed(secret, "ann@example.com")})
    assert entered.status_code == 303
    assert "ann@example.com" in client.get("/review").text
    monkeypatch.setattr(access, "SIGNED_IN", -1)
    assert client.get("/review").status_code == 401


def test_the_cookie_of_a_reviewer_who_was_taken_off_the_list_lets_nobody_in(start: Start) -> None:
    secret = "a secret of at least thirty-two bytes"
    client = start(**tokens(secret), reviewers=("ann@example.com",))
    client.post("/review", data={"key": signed(secret, "ann@example.com")})
    later = start(**tokens(secret), reviewers=("bob@example.com",))
    later.cookies.set(access.COOKIE, client.cookies[access.COOKIE])
    assert later.get("/review").status_code == 403
    owner = start()
    owner.cookies.set(access.COOKIE, client.cookies[access.COOKIE])
    assert owner.get("/review").status_code == 401  # it is of a person, not of the machine's owner


def test_who_signs_out_is_asked_again_and_no_other_page_signs_anybody_out(start: Start) -> None:
    key = access.key(WidgetSettings(gateway_key="ask-test"))
    client = start()
    client.get("/review", params={"key": key})
    cross = client.post("/review/sign-out", headers={"sec-fetch-site": "cross-site"})
    assert cross.status_code == 403
    for path in ("/review", "/review/gaps"):
        page = client.get(path)
        action = page.text.partition('<form method="post" action="')[2].partition('"')[0]
        assert page.url.join(action).path == "/review/sign-out"
    left = client.post("/review/sign-out")
    assert (left.status_code, left.url.join(left.headers["location"]).path) == (303, "/review")
    assert not client.cookies
    assert client.get("/review").status_code == 401
    proxied = start(person_header="x-person", reviewers=("ann@example.com",))
    assert "sign-out" not in proxied.get("/review", headers={"x-person": "ann@example.com"}).text


@pytest.mark.parametrize("name", ["SECRET", "PREVIOUS_SECRET", "IDENTITY_KEY"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(name: str) -> None:
    variable = f"ASKDOCS_WIDGET_{name}"
    with pytest.raises(SettingsError, match="the minimum is 32") as refused:
        load(WidgetSettings, env={variable: "password-of-the-team"})
    assert "password-of-the-team" not in str(refused.value)
    whole = {f"ASKDOCS_WIDGET_IDENTITY_{part}": "x" for part in ("ISSUER", "AUDIENCE")}
    load(WidgetSettings, env={**whole, variable: "a" * 32})


def signed(secret: str, person: str) -> str:
    claims = {"iss": "id", "aud": "askdocs", "email": person, "exp": time.time() + 60}
    return jwt.encode(claims, secret, "HS256")


def tokens(secret: str) -> dict[str, str]:
    return {"identity_key": secret, "identity_issuer": "id", "identity_audience": "askdocs"}


def test_a_cookie_of_another_installation_is_not_taken(start: Start) -> None:
    client, other = start(), start(gateway_key="ask-other")
    client.get("/review", params={"key": access.key(WidgetSettings(gateway_key="ask-test"))})
    other.cookies.set(access.COOKIE, client.cookies[access.COOKIE])
    assert other.get("/review").status_code == 401


def test_a_cookie_lives_through_a_rotation_of_the_secret_and_the_link_does_not(
    start: Start,
) -> None:
    before = "ask-" + "old" * 10
    link = {"key": access.key(WidgetSettings(gateway_key=before))}
    client = start(gateway_key=before)
    client.get("/review", params=link)
    rotated = start(secret="new" * 11, previous_secret=before)
    assert rotated.get("/review", params=link).status_code == 403
    rotated.cookies.set(access.COOKIE, client.cookies[access.COOKIE])
    assert rotated.get("/review").status_code == 200


def test_a_cookie_of_before_lets_nobody_in_once_the_secret_has_gone(start: Start) -> None:
    client = start()
    client.get("/review", params={"key": access.key(WidgetSettings(gateway_key="ask-test"))})
    changed = start(secret="new" * 11)
    changed.cookies.set(access.COOKIE, client.cookies[access.COOKIE])
    assert changed.get("/review").status_code == 401


@pytest.mark.parametrize("proxies", [("127.0.0.1",), ()])
def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(
    start: Start, proxies: tuple[str, ...]
) -> None:
    key = {"key": access.key(WidgetSettings(gateway_key="ask-test")), "next": "//evil.example"}
    entered = start(trusted_proxies=proxies).get(
        "/review", params=key, headers={"x-forwarded-proto": "https"}
    )
    assert ("; secure" in entered.headers["set-cookie"].lower()) == bool(proxies)
    assert entered.headers["location"] == "review"  # whatever the address asks for


def test_nobody_gets_in_by_a_secret_that_is_empty(start: Start) -> None:
    known = hmac.new(b"", b"askdocs review", hashlib.sha256).hexdigest()
    forged = URLSafeTimedSerializer(known, salt="review").dumps("owner")
    client = start(previous_secret="")
    client.cookies.set(access.COOKIE, forged)
    assert client.get("/review").status_code == 401
    unset = start(secret="", gateway_key="")
    assert unset.get("/review", params={"key": known}).status_code == 403


def test_people_are_let_in_by_name_or_team(start: Start) -> None:
    client = start(
        person_header="x-person", team_header="x-team", reviewers=("ann@example.com", "@writers")
    )
    key = {"key": access.key(WidgetSettings(gateway_key="ask-test"))}
    nobody = client.get("/review", params=key)
    assert nobody.status_code == 401
    assert "person_header" in nobody.text
    assert client.get("/review", headers={"x-person": "ann@example.com"}).status_code == 200
    bob = {"x-person": "bob@example.com", "x-team": "sales"}
    refused = client.get("/review", headers=bob)
    assert refused.status_code == 403
    assert "bob@example.com" in refused.text
    assert "@sales" in refused.text
    assert client.get("/review", headers={**bob, "x-team": "writers"}).status_code == 200


def test_every_page_wants_a_reviewer(start: Start) -> None:
    client = start()
    for path in ("", "/1", "/gaps", "/gaps.csv", "/analytics", "/analytics.json", "/pages"):
        assert client.get(f"/review{path}").status_code == 401, path
    for path in ("/1", "/1/apart", "/preview"):
        assert client.post(f"/review{path}", data={"answer": "x"}).status_code == 401, path


def test_other_pages_can_neither_post_here_nor_frame_it(start: Start) -> None:
    client = start(person_header="x-person", reviewers=("ann",))
    ann = {"x-person": "ann"}
    cross = {**ann, "sec-fetch-site": "cross-site"}
    assert client.post("/review/1", data={"action": "dismiss"}, headers=cross).status_code == 403
    framed = {**ann, "sec-fetch-dest": "iframe"}
    assert client.get("/review", headers=framed).status_code == 403
    # A browser that does not say what it loads for, as at plain http.
    for path in ("/review", "/review/1", "/review/nothing"):
        policy = client.get(path, headers=ann).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
    assert "<strong>to do</strong>" in client.get("/review/1", headers=ann).text


def test_a_database_that_is_away_is_said_without_its_address(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise Unreachable("postgresql://askdocs:***@db.inside/x: the database does not answer")

    monkeypatch.setattr("widget.review.queue.Queue.items", away)
    client = start(person_header="x-person", reviewers=("ann",))
    answer = client.get("/review", headers={"x-person": "ann"})
    assert answer.status_code == 503
    assert "the database does not respond" in answer.text
    assert "db.inside" not in answer.text


def test_without_a_database_the_page_says_what_to_set(start: Start) -> None:
    client = start(database_url=None, person_header="x-person", reviewers=("ann",))
    answer = client.get("/review", headers={"x-person": "ann"})
    assert answer.status_code == 503
    assert "ASKDOCS_DATABASE_URL" in answer.text
