"""The official SDK for Node, 6.x (for Node 20) and 7.x."""

import json
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import QUOTED, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

FACTS = """
import OpenAI from "openai";

const settings = { baseURL: process.argv[2], apiKey: process.env.ASKDOCS_KEY, maxRetries: 0 };
const client = new OpenAI(settings);
const facts = { models: (await client.models.list()).data.map((model) => model.id) };
const messages = [{ role: "user", content: "How do I stop askdocs?" }];
const reply = await client.chat.completions.create({ model: "docs", messages });
facts.text = reply.choices[0].message.content;
facts.source = reply.choices[0].message.annotations[0].url_citation.url;
const input = "Where is the coffee machine?";
const embedded = await client.embeddings.create({ model: "minilm", input });
facts.embedding = embedded.data[0].embedding.length;
try {
  await new OpenAI({ ...settings, apiKey: "ask-wrong" }).models.list();
} catch (error) {
  facts.error = [error.constructor.name, error.status, error.code, Boolean(error.requestID)];
}
console.log(JSON.stringify(facts));
"""

STREAM = """
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.env.ASKDOCS_KEY });
const messages = [{ role: "user", content: "How do I stop askdocs?" }];
const stream = await client.chat.completions.create({ model: "docs", messages, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
"""


@pytest.fixture(scope="module", params=["openai-6", "openai-7"])
def modules(request: pytest.FixtureRequest, say: Say) -> Path:
    return environments.node(request.param, say)


def node(client: Client, modules: Path, code: str) -> tuple[str, str]:
    """A script and its modules, as in a project of a user."""
    (client.home / "node_modules").symlink_to(modules)
    (client.home / "ask.mjs").write_text(code)
    return "node", "ask.mjs"


def test_the_sdk_lists_models_answers_and_raises_typed_errors(
    client: Client, modules: Path
) -> None:
    done = client.run(*node(client, modules, FACTS), client.url)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["models"] == ["docs", "base", "minilm", "local"]
    assert facts["embedding"] == 384
    assert QUOTED.fullmatch(facts["text"])
    assert facts["source"].endswith("/getting-started/#how-do-i-stop-askdocs")
    assert facts["error"] == ["AuthenticationError", 401, "invalid_api_key", True]


def test_the_docs_code_prints_the_sources(client: Client, modules: Path) -> None:
    code = client.doc("sdk", "7. Read the sources with Node", "js")
    done = client.run(*node(client, modules, code))
    assert done.returncode == 0, done.stderr
    source, *_, refused = done.stdout.splitlines()
    assert source.endswith("/getting-started/#how-do-i-stop-askdocs")
    assert refused == "refused: false"


def test_a_stream_is_the_answer(client: Client, modules: Path) -> None:
    done = client.run(*node(client, modules, STREAM), client.url)
    assert done.returncode == 0, done.stderr
    assert QUOTED.fullmatch(done.stdout)


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, modules: Path) -> None:
    code = client.doc("sdk", "7. Read the sources with Node", "js")
    done = client.run(*node(client, modules, code), ASKDOCS_KEY=WRONG)
    assert done.returncode == 1
    assert REFUSAL in done.stderr
