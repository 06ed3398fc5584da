"""The section `tracking` of study.yaml: other programs that show the trials of a search while it runs."""

from urllib.parse import urlsplit

from pydantic import field_validator

from tuner.config.section import Settings, Text


class Tracking(Settings):
    """Programs that track experiments, to which the chief reports the trials while the search runs."""

    mlflow: Text | None = None
    """URL of an MLflow server, such as `http://mlflow:5000`, to which the chief writes a run for the study and a nested
    run for each trial: hyperparameters, metrics by epoch and state. A slow or unreachable server delays no trial.
    Credentials are MLflow's own environment variables, such as `MLFLOW_TRACKING_TOKEN`. Needs the package
    `mlflow-skinny` (the extra `mlflow`), which the image contains. Default: not set."""

    @field_validator("mlflow")
    @classmethod
    def _without_secrets(cls, url: str | None) -> str | None:
        return None if url is None else mlflow_url(url)


def mlflow_url(url: str) -> str:
    """Return the URL of an MLflow server without a slash at its end.

    Raises ValueError if it is not an http(s) URL, or if it may contain a secret, which a study must not record. The
    message does not contain the URL.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # not a port
        valid = False
    if not valid or any(character.isspace() for character in url):
        raise ValueError("must be the URL of an MLflow server, such as http://mlflow:5000")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "must be a URL without user, password and query, because it is recorded and logged. Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    return url.rstrip("/")
