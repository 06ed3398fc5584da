"""Read why a request failed from obstore's errors. They are texts with the HTTP status, a code, and details."""

import re
from dataclasses import dataclass
from enum import Enum

_DEBUG = "Debug source:"
_STATUS = re.compile(r"(?:status code: |\(code: )(\d{3})")
_CODE = re.compile(r"<Code>\s*([^<]*?)\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*([^<]*?)\s*</Message>", re.DOTALL)
_NETWORK = re.compile(r"HttpError\s*{\s*kind: (\w+)")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_REASONS = (re.compile(r'message: "([^"]+)"'), re.compile(r'error: "([^"]+)"'))
_WORDS = {"Timeout": "no response in time", "Interrupted": "the connection was lost", "Connect": "no connection"}
# The link-local addresses at which EC2, ECS, EKS and Azure serve credentials.
_METADATA = re.compile(r"performing \w+ http://(?:169\.254\.\d+\.\d+|\[?fd00:ec2)")
# obstore hides the URLs of Amazon's service of tokens (STS).
_TOKENS = re.compile(r"performing (?:token request|POST REDACTED)|credential provider: ")
_PROVIDER = re.compile(r"credential provider: \w+: (.*)", re.DOTALL)
_MAX_CHARACTERS = 200

_MISSING = ("NoSuchBucket", "ContainerNotFound")
_REFUSED = (
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),  # S3
    *("AuthenticationFailed", "InvalidAuthenticationInfo"),  # Azure
)
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
_FULL = ("QuotaExceeded", "XMinioStorageFull")
_UPLOAD_ENDED = ("NoSuchUpload", "InvalidBlockList")
"""Also the answers to a repeated request to complete an upload whose first answer was lost."""
_REPEATED = (408, 429, 500, 502, 503, 504)


class Cause(Enum):
    """Why a request failed, as far as it matters for what to do. The value is the sentence."""

    NO_BUCKET = "there is no bucket {bucket}. Check the name in {url}, or create it: {create_command}"
    NO_CREDENTIALS = "no credentials were found ({reason}). {credentials}"
    REFUSED = "the credentials were refused ({reason}). {credentials}"
    OTHER_REGION = "the bucket is in another region ({reason}). Set AWS_REGION to the bucket's region."
    CLOCK = "{reason}. Correct the clock of this machine."
    FULL = "no space is left there ({reason}). Nothing was written. Free some space, or use another bucket."
    NO_PERMISSION = "no permission ({reason}). Grant {permission} {bucket}."
    UNTRUSTED = (
        "{endpoint} is not trusted ({reason}). Set {certificates_variable} to a PEM file with the "
        "certificate of its authority."
    )
    PASSING = (
        "{endpoint} kept failing for {deadline_s:g} s ({reason}). Check the network and {endpoint_variable}, then try "
        "again."
    )
    UPLOAD_ENDED = "the upload in pieces ended too early ({reason}). Try again."
    OTHER = "{reason}."


@dataclass(frozen=True)
class Failure:
    """Why a request failed, and the reason in the service's or the network's own words, on one line."""

    cause: Cause
    reason: str


def read_failure(error: Exception) -> Failure:
    """Return why a request failed, from an error of obstore."""
    text, _, details = str(error).partition(_DEBUG)
    status, code = int(_first(_STATUS, text) or 0), _first(_CODE, text)
    reason = " ".join(_reason(text, details, status, code).split()).removesuffix(".")
    if len(reason) > _MAX_CHARACTERS:
        reason = f"{reason[:_MAX_CHARACTERS]}…"
    return Failure(_cause(text, details, status, code), reason)


def _cause(text: str, details: str, status: int, code: str) -> Cause:
    network = _first(_NETWORK, details)
    rules = (
        (Cause.NO_BUCKET, code in _MISSING or (status == 404 and not code)),
        (Cause.NO_CREDENTIALS, _METADATA.search(text)),
        (Cause.UNTRUSTED, _CERTIFICATE.search(details)),
        (Cause.FULL, status == 507 or code in _FULL),
        (Cause.PASSING, status in _REPEATED or (not status and network not in ("", "Unknown"))),
        (Cause.UPLOAD_ENDED, code in _UPLOAD_ENDED),
        (Cause.REFUSED, status == 401 or code in _REFUSED or _TOKENS.search(text)),
        (Cause.OTHER_REGION, status == 301 or code in _OTHER_REGION or "redirect without" in text),
        (Cause.CLOCK, code == "RequestTimeTooSkewed"),
        (Cause.NO_PERMISSION, status == 403),
    )
    return next((cause for cause, applies in rules if applies), Cause.OTHER)


def _reason(text: str, details: str, status: int, code: str) -> str:
    if provider := _first(_PROVIDER, text):
        return provider
    if status:
        # Azure appends the request's id and time to the message, on lines of their own.
        message = _first(_MESSAGE, text).partition("\n")[0]
        return " ".join(filter(None, (str(status), code and f"{code}:", message))).removesuffix(":")
    if certificate := _first(_CERTIFICATE, details):
        return f"its certificate is invalid: {certificate}"
    network = _first(_NETWORK, details)
    if network in _WORDS:
        reason = next(filter(None, (_first(pattern, details) for pattern in _REASONS)), _WORDS[network])
        return f"from the service of tokens: {reason}" if _TOKENS.search(text) else reason
    return text


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
