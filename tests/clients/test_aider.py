"""aider, one question on a small git repository."""

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HEADING = "aider"
# What a test does not want: questions to a user, look-ups on the internet.
QUIET = (
    "--yes-always --analytics-disable --no-check-update --no-show-release-notes"
    " --no-show-model-warnings --no-detect-urls --no-gitignore --no-pretty"
)


@pytest.fixture
def command(client: Client, say: Say) -> str:
    """The commands of the docs, in a repository that has the settings of the docs."""
    aider = environments.python("aider", say) / "aider"
    page = "editors"
    settings = {"settings.yml": "yaml", "metadata.json": "json"}
    for name, language in settings.items():
        (client.home / f".aider.model.{name}").write_text(client.doc(page, HEADING, language))
    (client.home / "hello.py").write_text('print("hello")\n')
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.com")
    for words in (["init", "-q"], ["add", "hello.py"], ["commit", "-qm", "Say hello"]):
        assert client.run(*git, *words).returncode == 0
    return client.doc(page, HEADING, "sh").replace("aider --", f"{aider} {QUIET} --")


def test_a_question_is_answered_from_the_wiki(client: Client, command: str) -> None:
    done = client.run("sh", "-ec", command, LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert done.returncode == 0, done.stderr
    assert ANSWER in " ".join(done.stdout.split()), done.stdout


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, command: str) -> None:
    done = client.run("sh", "-ec", command, ASKDOCS_KEY=WRONG, LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert REFUSAL in " ".join(done.stdout.split()), done.stdout
