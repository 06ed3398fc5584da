"""A study on an MLflow server, which is called with MLflow's own client. Its errors are explained.

MLflow is imported only when a study is written, because that takes seconds.
"""

import os
from importlib.util import find_spec
from urllib.parse import urlsplit

from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.errors import CifakeTuneError, ConfigError, EnvironmentFailure, UsageError
from tuner.export.mlflow_runs import MlflowRuns, study_id
from tuner.study.state import StudyState

EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own variable with the name of the experiment. Default: the name of the study."""
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds, instead of 120
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its lines would not have the format of this program's log
}
"""Environment variables of MLflow that users may set otherwise."""
FIXED = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # its client would send a request again that may have created a run
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
REFUSED = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"})
TRANSIENT = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED"})
MESSAGE_CHARACTERS = 300


def require_mlflow() -> None:
    """Raise ConfigError if MLflow is not installed."""
    if find_spec("mlflow") is None:
        raise ConfigError(
            "MLflow is not installed. Install cifake-tune[mlflow] or mlflow-skinny, or remove tracking.mlflow."
        )


def check_tracking(study: Study) -> None:
    """Raise ConfigError if the study is to be reported to MLflow, which is not installed."""
    if study.tracking.mlflow is not None:
        require_mlflow()


class MlflowStudy:
    """A study on an MLflow server."""

    def __init__(self, bucket: Bucket, study: str, url: str) -> None:
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        """Scheme, host and port of the server, for messages. A path may be a secret."""
        self._bucket, self._study, self._url = bucket, study, url
        self._runs: MlflowRuns | None = None

    def forget(self) -> None:
        """Let the next `write` ask the server again what it has."""
        if self._runs:
            self._runs.forget()

    def write(self, state: StudyState) -> None:
        """Write what the server lacks of the study. May take as long as the server does.

        Raises UsageError if the server refuses the study, EnvironmentFailure if a retry may succeed, BucketError and
        JournalError.
        """
        if self._runs is None:
            self._runs = self._connect()
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            self._runs.write(state)
        except (MlflowException, RequestException) as error:
            raise _explained(error, self.origin) from error

    def _connect(self) -> MlflowRuns:
        for variable, value in DEFAULTS.items():
            os.environ.setdefault(variable, value)
        os.environ.update(FIXED)
        from mlflow import MlflowClient

        experiment = os.environ.get(EXPERIMENT) or self._study
        client = MlflowClient(tracking_uri=self._url, registry_uri=self._url)
        return MlflowRuns(client, study_id(self._bucket, self._study), experiment)


def _explained(error: Exception, origin: str) -> CifakeTuneError:
    from mlflow.exceptions import RestException

    code = getattr(error, "error_code", "INTERNAL_ERROR")
    if code in REFUSED:
        return UsageError(
            f"the MLflow server at {origin} refuses the credentials ({code}). Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    if isinstance(error, RestException) and code not in TRANSIENT:
        message = " ".join(str(error).split())[:MESSAGE_CHARACTERS].rstrip(".")
        return UsageError(f"the MLflow server at {origin} refuses the study: {message}.")
    return EnvironmentFailure(
        f"the MLflow server at {origin} does not answer as expected ({_cause(error) or code}). Check the URL and the "
        "server."
    )


def _cause(error: BaseException | None) -> str:
    """Return the name of the network error that caused an error. Their messages contain the whole URL."""
    from requests import RequestException

    while error is not None and not isinstance(error, RequestException):
        error = error.__cause__ or error.__context__
    return "" if error is None else type(error).__name__
