"""Text for where Slack, and what takes its messages, reads mrkdwn."""


def escaped(text: str) -> str:
    """The text without mentions, links or calls to everybody (`<!channel>`).

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
