"""Read the profiles of the AWS command line (`~/.aws`), which obstore does not know."""

import configparser
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tuner.errors import BucketError

_FOUND_BY_OBSTORE = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
)
_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_EXPORT = ("aws", "configure", "export-credentials", "--format", "process")
_EXPORT_TIMEOUT_S = 60.0
_LIFE = timedelta(minutes=30)
"""Time after which credentials without a date of expiry are read again."""


@dataclass(frozen=True)
class AwsProfile:
    """What a profile adds to the credentials that obstore finds itself."""

    options: dict[str, Any] = field(default_factory=dict)
    provider: Callable[[], Any] | None = None


def read_profile(environment: Mapping[str, str], advice: str) -> AwsProfile:
    """Return the credentials of the user's profile; nothing if the environment has others, or if there is no profile.

    Profiles with fixed keys are read directly. For others (single sign-on, roles), the AWS command line is called.
    Raises BucketError, with `advice`, if there are no credentials.
    """
    if any(environment.get(variable) for variable in _FOUND_BY_OBSTORE):
        return AwsProfile()
    name = environment.get("AWS_PROFILE") or "default"
    places = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
    files = [Path(environment.get(variable) or default).expanduser() for variable, default in places]
    sections = configparser.ConfigParser(interpolation=None, default_section="")
    sections.read(files)
    values = {
        key: value
        for section in (f"profile {name}", name)
        if sections.has_section(section)
        for key, value in sections.items(section)
    }
    if not values and not environment.get("AWS_PROFILE"):
        if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise BucketError(f"No credentials for S3 were found. {advice}")
        return AwsProfile()  # an instance of EC2, perhaps
    has_region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    options = {"region": values["region"]} if "region" in values and not has_region else {}
    keys = {option: values[key] for key, option in _KEYS.items() if key in values}
    if "access_key_id" in keys:
        return AwsProfile(options | keys)
    if shutil.which(_EXPORT[0], path=environment.get("PATH")):
        return AwsProfile(options, lambda: _export(environment, name))
    if set(values) <= {"region", "output"} and not environment.get("AWS_PROFILE"):
        return AwsProfile(options)
    raise BucketError(
        f"The profile {name} of {' and '.join(map(str, files))} has no keys, and reading it needs the AWS command line "
        f"(`aws`), which is not installed. {advice}"
    )


def _export(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return what obstore wants of a provider of credentials. Raises BucketError."""
    try:
        result = subprocess.run(
            [*_EXPORT, "--profile", name],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=True,
            timeout=_EXPORT_TIMEOUT_S,
        )
        found = json.loads(result.stdout)
        expiry = found.get("Expiration")
        return {
            "access_key_id": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            "token": found.get("SessionToken"),
            "expires_at": datetime.fromisoformat(expiry) if expiry else datetime.now(UTC) + _LIFE,
        }
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        reason = " ".join((getattr(error, "stderr", None) or str(error)).split())
        raise BucketError(f"`{' '.join(_EXPORT)} --profile {name}` failed: {reason}") from error
