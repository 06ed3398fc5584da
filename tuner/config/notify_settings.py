"""The settings of the section `notify`."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from tuner.config.section import Settings


def _url(value: Any) -> Any:
    """Refuse what is no URL of HTTP. The error does not contain the value, which is a secret."""
    if value is None:
        return value
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() and " " not in value else None
        is_url = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError("must be a URL that begins with https:// or http://, such as https://example.com/hooks/1")
    return value


class Notify(Settings):
    """Messages about a study. They are not recorded with it."""

    webhook: Annotated[str | None, BeforeValidator(_url)] = None
    """URL to which one JSON message is posted when the study has ended or given up. Anyone who knows it can usually
    post there, so it is a secret: neither the study nor any log contains it. Default: not set."""
