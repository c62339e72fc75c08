"""Who may review: people from the team's sign-in, or the machine's owner.

With a sign-in, everybody whom the box's sign-in identifies (`widget.access.identity`) and whom the
setting `reviewers` lists by name or as `@team`. Without a sign-in, whoever has the key in the link
that `askdocs status --secrets` shows. The link, the key, or a sign-in token can also be pasted into
a field; each becomes a cookie.
"""

import hashlib
import hmac
from typing import Any, NamedTuple, NoReturn

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from widget.access.identity import BadIdentity, Identities, Identity
from widget.settings import WidgetSettings
from wiki.rights import EVERYTHING, Reader

COOKIE = "askdocs_review"
LIFETIME = 30 * 86_400  # seconds
# For a person whose token was pasted: the token itself may expire within minutes.
SIGNED_IN = 12 * 3600
OWNER = "owner"
"""The owner's name in the history of reviews."""
KEY, TOKEN = "Link or key of the review", "Token of your sign-in"
ASK_FOR_KEY = "Paste the link of the review, or the key in it: askdocs status --secrets shows it"
NOBODY = (
    "Nobody is signed in. Reviewers are known by the header of a proxy (`person_header`) or a"
    " signed token (`identity_key`) of the [widget] settings."
)


class Reviewer(NamedTuple):
    """The current reviewer."""

    name: str
    reader: Reader
    """Their rights to pages: the owner may read all."""


class AccessRefused(Exception):
    """Why a page is not shown, with a status and a sentence that contains the fix.

    `field`: label of the credential that can be pasted, if any.
    """

    def __init__(self, status: int, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.field = field


class Entered(Exception):
    """The key or token is valid: redirect to a URL without it, and set a cookie."""

    def __init__(self, cookie: str, lifetime: int) -> None:
        super().__init__("entered")
        self.cookie = cookie
        self.lifetime = lifetime

    def response(self, request: Request) -> Response:
        """Redirect to the queue."""
        response = RedirectResponse("review", 303)
        response.set_cookie(
            COOKIE,
            self.cookie,
            max_age=self.lifetime,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


def signed_out() -> Response:
    """Remove the cookie, and show the field again."""
    response = RedirectResponse("../review", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def key(settings: WidgetSettings) -> str:
    """The key in the owner's link; empty without a secret to derive it from."""
    return _derived(settings.secret or settings.gateway_key)


def _derived(own: SecretStr | None) -> str:
    if not own:  # or an empty one, which would let in everybody
        return ""
    # One-way, so that the link does not reveal the gateway's key.
    return hmac.new(own.get_secret_value().encode(), b"askdocs review", hashlib.sha256).hexdigest()


def has_sign_in(settings: WidgetSettings) -> bool:
    """Do reviewers sign in through the team's sign-in, instead of the owner's link?"""
    return bool(settings.reviewers or settings.person_header or settings.identity_key)


def link(settings: WidgetSettings, widget: str) -> str:
    """The review's URL under `widget`, the widget's base URL; includes the key if keys are in
    use."""
    secret = "" if has_sign_in(settings) else key(settings)
    return f"{widget}/review?key={secret}" if secret else f"{widget}/review"


class Access:
    """Lets reviewers in."""

    def __init__(self, settings: WidgetSettings) -> None:
        self._settings = settings
        self._identities = Identities(settings)
        self._key = key(settings)
        # Accept cookies signed with the previous key, but not its link. The last key signs.
        keys = [_derived(settings.previous_secret), self._key or "-"]
        self._cookies = URLSafeTimedSerializer([secret for secret in keys if secret], salt="review")

    def reviewer(self, request: Request) -> Reviewer:
        """The reviewer of a request. Raises AccessRefused, Entered."""
        # Wikis may frame the box, but not the review, where framing would allow clickjacking.
        if request.headers.get("sec-fetch-dest") in ("iframe", "frame", "embed", "object"):
            raise AccessRefused(403, "Please open this page in a window of its own.")
        if has_sign_in(self._settings):
            return self._person(request)
        if not self._key:
            raise AccessRefused(
                403,
                "Nobody may review yet: list people in `reviewers` of the [widget] settings, and"
                " say by `person_header` or `identity_key` how they sign in.",
            )
        if given := request.query_params.get("key"):
            self._enter_by_key(given)
        name = self._cookie(request, LIFETIME)
        if not isinstance(name, str):
            raise AccessRefused(401, f"{ASK_FOR_KEY}.", KEY)
        return Reviewer(name, EVERYTHING)

    def enter(self, request: Request, pasted: str) -> NoReturn:
        """Check a pasted credential. Raises Entered or AccessRefused."""
        if not has_sign_in(self._settings):
            self._enter_by_key(pasted.rpartition("key=")[2])
        if not self._settings.identity_key:
            raise AccessRefused(401, NOBODY)
        try:
            identity = self._identities.of(request, pasted)
        except BadIdentity as error:
            raise AccessRefused(401, str(error), TOKEN) from error
        if not identity.person:
            raise AccessRefused(401, NOBODY, TOKEN)
        self._allowed(identity)
        raise Entered(self._cookies.dumps([identity.person, identity.team]), SIGNED_IN)

    def _enter_by_key(self, given: str) -> NoReturn:
        if self._key and hmac.compare_digest(given.strip().encode(), self._key.encode()):
            raise Entered(self._cookies.dumps(OWNER), LIFETIME)
        raise AccessRefused(
            403, f"This is the key of another installation, or incomplete. {ASK_FOR_KEY}.", KEY
        )

    def _cookie(self, request: Request, lifetime: int) -> Any:
        try:
            return self._cookies.loads(request.cookies.get(COOKIE, ""), max_age=lifetime)
        except BadData:
            return None

    def _person(self, request: Request) -> Reviewer:
        field = TOKEN if self._settings.identity_key else ""
        try:
            identity = self._identities.of(request)
        except BadIdentity as error:
            identity, problem = Identity(), str(error)
        else:
            problem = NOBODY
        signed_in = None if identity.person or not field else self._cookie(request, SIGNED_IN)
        if isinstance(signed_in, list):  # the owner's cookie is a str
            # The token's groups may have changed; use those from the groups file.
            identity = self._identities.known(*signed_in[:2])
        if not identity.person:
            raise AccessRefused(401, problem, field)
        return self._allowed(identity)

    def _allowed(self, identity: Identity) -> Reviewer:
        allowed = self._settings.reviewers
        if identity.person in allowed or (identity.team and f"@{identity.team}" in allowed):
            return Reviewer(identity.person, Reader(identity.groups))
        team = f" or {'@' + identity.team!r}" if identity.team else ""
        raise AccessRefused(
            403,
            f"You are signed in as {identity.person!r}, who may not review: add that name{team} to"
            " `reviewers` of the [widget] settings.",
        )
