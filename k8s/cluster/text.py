"""Texts of a cluster, shortened to fit a sentence."""


def shortened(text: str, length: int) -> str:
    """Return the text on one line, cut after a whole word if it is longer than `length` characters."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    return f"{text[: length + 1].rpartition(' ')[0] or text[:length]} …"
