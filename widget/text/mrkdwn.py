"""Converts text to mrkdwn, for Slack and compatible webhooks."""


def escaped(text: str) -> str:
    """The text without mentions, links or channel-wide calls (`<!channel>`).

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def link(url: str, text: str) -> str:
    """A link whose URL can neither end it nor begin another."""
    address = url.replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return f"<{escaped(address)}|{text}>"
