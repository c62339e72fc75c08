"""Who asks: by a trusted proxy's header, by a JWT, or nobody that is known."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from starlette.requests import Request

from core.errors import AskdocsError
from widget.access import people
from widget.access.identity import BadIdentity, Identities, Identity
from widget.access.visitors import Visitor, Visitors
from widget.settings import WidgetSettings

SECRET = "a secret of at least thirty-two bytes"
OURS = {"iss": "https://id.example.com", "aud": "askdocs"}

JO = frozenset({"person:jo@example.com"})


def request(client: str = "203.0.113.9", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "client": (client, 1)})


def token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    person = {"sub": "u1", "email": "jo@example.com"}
    claims = {**OURS, "exp": time.time() + 3600, **person, **claims}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, key, algorithm
    )


def identities(**settings: Any) -> Identities:
    if "identity_key" in settings:
        settings |= {"identity_issuer": OURS["iss"], "identity_audience": OURS["aud"]}
    return Identities(WidgetSettings(**settings))


def test_a_proxys_headers_name_a_person_and_their_team() -> None:
    reader = identities(person_header="X-Forwarded-Email", team_header="X-Team")
    asked = request(x_forwarded_email="jo@example.com", x_team="red")
    assert reader.of(asked) == Identity("jo@example.com", "red", JO)
    assert reader.of(request()) == Identity()
    assert identities().of(asked) == Identity()


def test_a_token_names_a_person_and_their_team() -> None:
    reader = identities(identity_key=SECRET, identity_header="Cf-Jwt")
    assert reader.of(request(), token(team="red")) == Identity("jo@example.com", "red", JO)
    assert reader.of(request(cf_jwt=f"Bearer {token(email=None)}")) == Identity(
        "u1", groups=frozenset({"person:u1"})
    )
    assert reader.of(request()) == Identity()


def test_an_address_that_is_not_verified_is_nobodys() -> None:
    reader = identities(identity_key=SECRET)
    for verified in (True, "true"):
        found = reader.of(request(), token(email_verified=verified, groups=["hr"]))
        assert found == Identity("jo@example.com", groups=JO | {"hr"})
    for verified in (False, "false", "False", 0, 1, "", "no", [], {}):
        found = reader.of(request(), token(email_verified=verified, groups=["hr"]))
        assert found == Identity("u1", groups=frozenset({"hr", "person:u1"}))
    unverified = {
        **OURS,
        "exp": time.time() + 60,
        "email": "jo@example.com",
        "email_verified": None,
    }
    assert reader.of(request(), jwt.encode(unverified, SECRET)) == Identity()
    # The same address as the subject is no more verified.
    assert reader.of(request(), token(email_verified=False, sub="jo@example.com")) == Identity()
    assert reader.of(request(), token(email={"a": 1})).person == "u1"


def test_claims_of_other_times_and_other_audiences_let_nobody_in() -> None:
    reader = identities(identity_key=SECRET)
    assert reader.of(request(), token(aud=["others", "askdocs"])).person == "jo@example.com"
    later = time.time() + 600
    for claims in ({"nbf": later}, {"iat": later}, {"aud": ["others"]}, {"aud": [["askdocs"]]}):
        with pytest.raises(BadIdentity):
            reader.of(request(), token(**{"aud": "askdocs", **claims}))
    # A key that the token itself brings or names is not checked.
    for header in ({"jwk": {"kty": "oct", "k": ""}}, {"kid": "../../dev/null"}, {"crit": ["x"]}):
        made = jwt.encode({**OURS, "sub": "u1", "exp": later}, "x" * 32, headers=header)
        with pytest.raises(BadIdentity):
            reader.of(request(), made)


@pytest.mark.parametrize("twice", ["x-groups", "x-team"])
def test_a_header_that_came_twice_gives_nothing(
    twice: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = identities(person_header="x-email", team_header="x-team", groups_header="x-groups")
    given = [("x-email", "jo@example.com"), ("x-groups", "docs, wiki"), ("x-team", "red")]
    pairs = [(name.encode(), value.encode()) for name, value in [(twice, "hr"), *given]]
    asked = Request({"type": "http", "headers": pairs, "client": ("10.0.0.1", 1)})
    for _ in range(50):  # whoever sends them must not fill the log
        found = reader.of(asked)
    assert found.person == "jo@example.com"
    assert found.groups == (JO if twice == "x-groups" else JO | {"docs", "wiki"})
    assert found.team == ("" if twice == "x-team" else "red")
    [said] = caplog.messages
    assert f"{twice} came more than once" in said


def test_two_names_in_the_proxys_header_are_none() -> None:
    reader = identities(person_header="x-email", groups_header="x-groups")
    pairs = [(b"x-email", b"boss@example.com"), (b"x-email", b"jo@example.com")]
    scope = {"type": "http", "headers": [*pairs, (b"x-groups", b"hr")], "client": ("10.0.0.1", 1)}
    assert reader.of(Request(scope)) == Identity()


def test_a_public_key_verifies_and_is_never_taken_as_a_secret() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    public = (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    # As an environment variable has it, on one line.
    reader = identities(identity_key=public.replace("\n", "\\n"))
    assert reader.of(request(), token(private, "ES256")).person == "jo@example.com"
    header, body, _ = token().split(".")
    signature = hmac.digest(public.encode(), f"{header}.{body}".encode(), hashlib.sha256)
    forged = f"{header}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    with pytest.raises(BadIdentity):
        reader.of(request(), forged)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (token(exp=time.time() - 120), "has expired"),
        (token(exp=None), "was not accepted"),
        (token("another secret of at least thirty-two"), "was not accepted"),
        (token(aud="others"), "was not accepted"),
        (token(aud=None), "was not accepted"),
        (token(iss="https://others.example.com"), "was not accepted"),
        (token(iss=None), "was not accepted"),
        (jwt.encode({"sub": "u1", "exp": 9e9}, "", "none"), "was not accepted"),
        ("nonsense", "was not accepted"),
    ],
)
def test_a_token_that_is_not_valid_is_refused_in_a_sentence(bad: str, sentence: str) -> None:
    reader = identities(identity_key=SECRET)
    with pytest.raises(BadIdentity, match=sentence):
        reader.of(request(), bad)


@pytest.mark.parametrize("given", [{}, {"identity_issuer": "x"}, {"identity_audience": "x"}])
def test_no_start_without_the_issuer_and_the_audience_of_tokens(given: dict[str, str]) -> None:
    missing = {"identity_issuer", "identity_audience"} - given.keys()
    with pytest.raises(ValueError, match="identity_key needs") as refused:
        WidgetSettings(identity_key=SecretStr(SECRET), **given)
    assert all(name in str(refused.value) for name in missing)


def test_strangers_can_be_kept_out() -> None:
    reader = identities(identity_key=SECRET, identity_required=True)
    with pytest.raises(BadIdentity, match="sign in"):
        reader.of(request())
    assert reader.of(request(), token()).person == "jo@example.com"


def test_visitors_are_pseudonyms_of_person_cookie_or_address() -> None:
    named = Visitors(WidgetSettings(secret="s" * 32, person_header="x-email"))
    jo = named.of(request(x_email="jo@example.com"))
    assert jo == Visitor(jo.id, jo.id, "jo@example.com", groups=JO)
    assert jo.id == named.of(request("198.51.100.1", x_email="jo@example.com")).id
    strange = Visitors(WidgetSettings(secret="s" * 32, visitors="cookie"))
    one = strange.of(request(cookie="askdocs_visitor=abc"))
    assert one.id == strange.of(request("198.51.100.1", cookie="askdocs_visitor=abc")).id
    other = strange.of(request(cookie="askdocs_visitor=abd"))
    assert one.id != other.id
    assert one.counted == other.counted  # a new cookie is no new visitor to the limiter
    address = strange.of(request())
    assert address == strange.of(request())
    assert address.counted == one.counted
    assert address != strange.of(request("198.51.100.1"))
    assert address == strange.of(request(user_agent="Other"))
    assert len({jo.id, one.id, address.id}) == 3
    assert Visitors(WidgetSettings(secret="t" * 32)).of(request()).id != address.id
    assert "203.0.113.9" not in address.id


def test_a_visitor_is_limited_by_address_or_by_the_64_of_ipv6() -> None:
    visitors = Visitors(WidgetSettings(secret="s" * 32))

    def counted(address: str) -> str:
        return visitors.of(request(address)).counted

    assert counted("2001:db8:1:2::1") == counted("2001:db8:1:2:ffff:ffff:ffff:ffff")
    assert counted("2001:db8:1:2::1") != counted("2001:db8:1:3::1")
    assert counted("::ffff:203.0.113.9") == counted("203.0.113.9")
    assert counted("203.0.113.9") != counted("203.0.113.10")
    assert counted("") == counted("")  # a socket in the file system


def test_groups_are_those_of_the_sign_in_and_of_a_file_never_of_a_stranger(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    file.write_text('{"hr": ["JO@example.com"], "eng": ["ada@example.com"]}')
    reader = identities(
        person_header="x-email", groups_header="x-groups", groups_file=file, identity_key=SECRET
    )
    said = request(x_email="jo@example.com", x_groups="board, , person:boss@example.com")
    assert reader.of(said).groups == JO | {"board", "hr"}
    assert reader.of(request(x_groups="board")).groups == frozenset()
    claimed = token(groups=["board", "person:boss@example.com", None, "x" * 300])
    assert reader.of(request(), claimed).groups == JO | {"board", "hr"}
    assert reader.of(request(), token(groups="board")).groups == JO | {"board", "hr"}


def test_a_look_alike_of_an_address_is_not_that_person(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    file.write_text('{"hr": ["Kim@example.com"]}')
    kelvin = "\u212aim@example.com"
    reader = identities(person_header="x-email", groups_file=file, identity_key=SECRET)
    assert reader.of(request(x_email="kim@EXAMPLE.com")).groups == {
        "hr",
        "person:kim@example.com",
    }
    assert reader.of(request(x_email="kim@example.com ")).groups >= {"hr"}
    assert reader.of(request(), token(email=kelvin)).groups == frozenset()
    file.write_text(json.dumps({"hr": [kelvin]}))
    with pytest.raises(AskdocsError, match="compatibility"):
        people.People(file)


def test_who_is_taken_out_of_the_file_loses_the_group_and_a_broken_file_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "FRESH", 0.0)
    file = tmp_path / "groups.json"
    file.write_text('{"hr": ["jo@example.com"]}')
    known = people.People(file)
    assert "hr" in known.groups("jo@example.com")
    file.write_text('{"hr": []}')
    assert known.groups("jo@example.com") == JO
    for broken in ("[]", '{"hr": "jo@example.com"}', "no JSON"):
        file.write_text(broken)
        assert known.groups("jo@example.com") == JO
        with pytest.raises(AskdocsError, match="groups cannot be read"):
            people.People(file)
