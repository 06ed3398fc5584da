"""Parts of sentences about a cluster: numbers with their nouns, and shortened texts."""


def counted(number: int, noun: str) -> str:
    """Return the number and the noun, such as 1 node and 2 nodes."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, length: int) -> str:
    """Return the text on one line, cut after a whole word if it is longer than `length` characters."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    return f"{text[: length + 1].rpartition(' ')[0] or text[:length]} …"
