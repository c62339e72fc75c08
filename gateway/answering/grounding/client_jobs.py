"""Recognises the jobs that clients give to a model on their own: compaction, titles, tags.

Such a request is no question to the wiki. Pages would cost tokens, and a refusal would replace the
session's memory or become its title. The beginnings are those of the clients' own prompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.answering.grounding.question import texts_of

JOBS: dict[str, tuple[str, ...]] = {
    "aider": (
        "*Briefly* summarize this partial conversation about programming.",
        "You are an expert software engineer that generates concise, one-line Git commit messages",
    ),
    "Claude Code": (
        "Your task is to create a detailed summary of the conversation so far",
        "Your task is to create a detailed summary of the RECENT portion of the conversation",
        "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.",
        "You are a helpful AI assistant tasked with summarizing conversations",
        "Analyze if this message indicates a new conversation topic.",
        "Generate a concise, sentence-case title (3-7 words)",
        "Summarize this coding conversation in under 50 characters.",
        "[SUGGESTION MODE:",
        "The user stepped away and is coming back.",
    ),
    "Cline": (
        '<explicit_instructions type="summarize_task">',
        '<explicit_instructions type="condense">',
        "The current conversation is rapidly running out of context.",
        "You are a helpful assistant that generates informative git commit messages",
    ),
    "Codex": ("You are performing a CONTEXT CHECKPOINT COMPACTION.",),
    "Continue": (
        "Given the following... please reply with a title for the chat",
        "Given the following chat history, please reply with a title for the chat",
    ),
    "Copilot": (
        "You are an expert in crafting pithy titles for chatbot conversations.",
        "You are an expert in crafting ultra-compact titles for chatbot conversations.",
        "Your task is to create a comprehensive, detailed summary of the entire conversation",
        "You are an AI programming assistant, helping a software developer to come with the best"
        " git commit message",
    ),
    "Crush": (
        "you will generate a short title based on the first message a user begins a conversation",
        "You are summarizing a conversation to preserve context for continuing work later.",
    ),
    "LangChain": (
        "Progressively summarize the lines of conversation provided",
        "<role>\nContext Extraction Assistant\n</role>",
        "Given the following conversation and a follow up question, rephrase the follow up"
        " question",
    ),
    "LibreChat": (
        "Provide a concise, 5-word-or-less title for the conversation",
        "Please generate a concise, 5-word-or-less title for the conversation",
        "Detect user language and write in the same language an extremely concise title",
        "Summarize the conversation by integrating new lines into the current summary.",
    ),
    "LlamaIndex": (
        "Given a conversation (between Human and Assistant) and a follow up message from Human",
        "Given the following conversation between a user and an AI assistant and a follow up"
        " question",
    ),
    "Open WebUI": (
        "### Task:\nGenerate a concise, ",
        "### Task:\nGenerate 1-3 broad tags",
        "### Task:\nSuggest 3-5 relevant follow-up questions",
        "### Task:\nAnalyze the chat history to determine the necessity of generating search",
        "### Task:\nYou are an autocompletion system.",
        "### Task:\nGenerate a detailed prompt for am image generation task",
    ),
    "opencode": (
        "You are a title generator. You output ONLY a thread title.",
        "Generate a title for this conversation:",
        "You are an anchored context summarization assistant",
        "Here is the conversation so far:\n\n<conversation>",
        "Create a new anchored summary from the conversation history",
        "Update the anchored summary below",
        "Provide a detailed prompt for continuing our conversation above.",
        "Summarize what was done in this conversation.",
    ),
    "pi": (
        "You are a context summarization assistant.",
        "The messages above are a conversation to summarize.",
    ),
    "Qwen Code": (
        "You are the component that summarizes internal chat history into a given structure.",
        "You are a specialized system component responsible for distilling chat history",
        "Analyze *only* the content and structure of your immediately preceding response",
        "Summarize the following tool output to be a maximum of",
    ),
    "Zed": (
        "Generate a concise 3-7 word title for this conversation",
        "Generate a detailed summary of this conversation. Include:",
        "You are an expert at writing Git commits.",
    ),
}
# Items before a prompt's first word, such as Crush's list.
_MARKS = " \t\r\n-"
_BEGINNINGS = tuple(beginning for beginnings in JOBS.values() for beginning in beginnings)


def is_client_job(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Does a system message, or the last message of a user, begin like a client's own prompt?"""
    for message in messages:
        if message.get("role") in ("system", "developer") and _begins(message):
            return True
    users = (message for message in reversed(messages) if message.get("role") == "user")
    return _begins(next(users, {}))


def _begins(message: Mapping[str, Any]) -> bool:
    # A slice, so that long texts are not copied.
    return any(
        text[:300].lstrip(_MARKS).startswith(_BEGINNINGS)
        for text in texts_of(message.get("content"))
    )
