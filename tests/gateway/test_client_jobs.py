"""Jobs that clients give to the model on their own: no pages, no refusal."""

import pytest

from gateway.answering.grounding.client_jobs import JOBS, is_client_job

AGENT = {"role": "system", "content": "You are a coding agent."}
SAID = [{"role": "user", "content": "How do I stop it?"}, {"role": "assistant", "content": "So."}]
EVERY = [(client, beginning) for client, jobs in JOBS.items() for beginning in jobs]


@pytest.mark.parametrize(("client", "beginning"), EVERY)
def test_a_job_is_known_by_how_its_prompt_begins(client: str, beginning: str) -> None:
    text = f"\n{beginning} of the client {client}"
    user = {"role": "user", "content": [{"type": "text", "text": text}]}
    assert is_client_job([AGENT, *SAID, user])
    assert is_client_job([{"role": "system", "content": text}, *SAID[:1]])
    assert not is_client_job([AGENT, {"role": "user", "content": f"What does {text} mean?"}])
    assert not is_client_job([AGENT, user, *SAID]), "an earlier message decides nothing"


@pytest.mark.parametrize(
    "question",
    [
        "How do I stop it?",
        "Summarize the page on backups.",
        "### Task:\nRespond to the user query using the provided context, incorporating citations",
        "Context information is below.",
        "",
    ],
)
def test_a_question_is_no_job(question: str) -> None:
    assert not is_client_job([AGENT, {"role": "user", "content": question}])


def test_a_part_of_a_client_s_system_prompt_decides() -> None:
    parts = ["x-anthropic-billing-header: a", "Generate a concise, sentence-case title (3-7 words)"]
    system = {"role": "system", "content": [{"type": "text", "text": text} for text in parts]}
    assert is_client_job([system, *SAID[:1]])


def test_a_conversation_without_messages_of_users_is_no_job() -> None:
    assert not is_client_job([AGENT])
    assert not is_client_job([])
