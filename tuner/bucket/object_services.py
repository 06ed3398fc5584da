"""Connect to S3 and Azure Blob Storage with the credentials, endpoint and certificates that their SDKs would use.

obstore reads most environment variables itself. This module adds those that it does not know (`AWS_PROFILE`,
`AZURE_STORAGE_CONNECTION_STRING`, `AWS_CA_BUNDLE`, …), and has the sentences that name each service's remedies.
"""

import os
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from obstore.store import AzureStore, S3Store

from tuner import __version__
from tuner.bucket.aws_profile import read_profile
from tuner.bucket.object_store_failures import read_failure
from tuner.errors import UsageError

_CONNECT_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT = timedelta(hours=6)
"""Maximum duration of a request as a whole. Silence ends a request much earlier."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.25, 16.0
_MAX_RETRIES = 30
# https://github.com/Azure/Azurite#default-storage-account: public, and the same in every emulator
_DEVELOPMENT = {
    "AccountName": "devstoreaccount1",
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


class Service(Protocol):
    """One bucket of an object store, and what to do if it fails."""

    url: str
    bucket: str
    endpoint: str
    """Address of the service as far as it is known, for messages."""
    create_command: str
    permission: str
    """What to grant."""
    credentials: str
    """How to provide credentials."""
    endpoint_variable: str
    certificates_variable: str

    def open(self, timeout_s: float, retry_s: float) -> Any:
        """Return obstore's client.

        Args:
            timeout_s: Seconds without a byte of response after which a request fails.
            retry_s: Seconds for which the client itself repeats a failed request; 0 for never.
        """
        ...


class S3Service:
    """A bucket of Amazon S3, or of a service with the same interface.

    Raises BucketError if no credentials are found, UsageError if a variable is wrong.
    """

    credentials = (
        "On EKS, bind the pod's service account to an IAM role (IRSA or EKS Pod Identity). Elsewhere, set "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    )
    permission = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on the bucket"
    endpoint_variable = "AWS_ENDPOINT_URL"
    certificates_variable = "AWS_CA_BUNDLE"

    def __init__(self, bucket: str, environment: Mapping[str, str] = os.environ) -> None:
        self.url = f"s3://{bucket}"
        self.bucket = bucket
        self.create_command = f"aws s3 mb s3://{bucket}"
        self._custom = _first(environment, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        region = _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        self.endpoint = self._custom or f"https://s3.{region}.amazonaws.com"
        self._certificates = _certificates(environment, self.certificates_variable)
        self._profile = read_profile(environment, self.credentials)

    def open(self, timeout_s: float, retry_s: float) -> Any:
        """Return obstore's client."""
        config = {"disable_bulk_delete": True, **self._profile.options}  # not every service has bulk deletion
        if self._custom:
            config["endpoint"] = self._custom
            config["aws_endpoint_url_s3"] = self._custom
        try:
            return S3Store(
                self.bucket,
                config=config,  # type: ignore[arg-type]  # some keys come from the environment
                client_options=_client_options(self._custom, self._certificates, timeout_s),  # type: ignore[arg-type]
                retry_config=_retries(retry_s),  # type: ignore[arg-type]
                credential_provider=self._profile.provider,
            )
        except Exception as error:
            raise _not_valid(self, error) from error


class AzureService:
    """A container of Azure Blob Storage.

    Raises UsageError if no storage account is named, or if a variable is wrong.
    """

    credentials = (
        "On AKS, bind the pod's service account to a managed identity (Workload Identity). Elsewhere, set "
        "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_KEY, or run `az login`."
    )
    permission = "the role Storage Blob Data Contributor on the container"
    endpoint_variable = "AZURE_STORAGE_ENDPOINT"
    certificates_variable = "SSL_CERT_FILE"

    def __init__(self, container: str, environment: Mapping[str, str] = os.environ) -> None:
        self.url = f"az://{container}"
        self.bucket = container
        self.create_command = f"az storage container create --name {container}"
        self._config = _azure_config(container, environment)
        self.endpoint = self._config.get("endpoint") or f"https://{self._config['account_name']}.blob.core.windows.net"
        self._certificates = _certificates(environment)

    def open(self, timeout_s: float, retry_s: float) -> Any:
        """Return obstore's client."""
        try:
            return AzureStore(
                self.bucket,
                config=self._config,  # type: ignore[arg-type]
                client_options=_client_options(self.endpoint, self._certificates, timeout_s),  # type: ignore[arg-type]
                retry_config=_retries(retry_s),  # type: ignore[arg-type]
            )
        except Exception as error:
            raise _not_valid(self, error) from error


def service_of(scheme: str, bucket: str) -> Service:
    """Return the service of a bucket of `s3` or `az`. Raises the errors of S3Service and AzureService."""
    return S3Service(bucket) if scheme == "s3" else AzureService(bucket)


def _not_valid(service: Service, error: Exception) -> UsageError:
    return UsageError(
        f"The credentials for {service.url} are not valid ({read_failure(error).reason}). {service.credentials}"
    )


def _client_options(endpoint: str, certificates: bytes | None, timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(_CONNECT_TIMEOUT_S, timeout_s)),
        "read_timeout": timedelta(seconds=timeout_s),
        "timeout": _REQUEST_TIMEOUT,
        "user_agent": f"cifake-tune/{__version__}",
    }
    return options | ({"root_certificate": certificates} if certificates else {})


def _retries(retry_s: float) -> dict[str, Any]:
    return {
        "max_retries": _MAX_RETRIES if retry_s else 0,
        "retry_timeout": timedelta(seconds=retry_s),
        "backoff": {
            "init_backoff": timedelta(seconds=_FIRST_DELAY_S),
            "max_backoff": timedelta(seconds=_LONGEST_DELAY_S),
            "base": 2,
        },
    }


def _certificates(environment: Mapping[str, str], *variables: str) -> bytes | None:
    """Return the certificates that the environment adds to the system's, as PEM."""
    for variable in (*variables, "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := environment.get(variable):
            try:
                return Path(path).read_bytes()
            except OSError as error:
                raise UsageError(
                    f"{variable} names {path}, which cannot be read ({error.strerror}). Write the path of a PEM file "
                    "with the certificates to trust."
                ) from error
    return None


def _azure_config(container: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return obstore's options from the connection string, or from the variables that obstore does not know."""
    text = environment.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part.strip())
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        parts = _DEVELOPMENT
    account = parts.get("AccountName") or _first(environment, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UsageError(
            f"The bucket az://{container} needs the name of its storage account. Set AZURE_STORAGE_ACCOUNT_NAME or "
            "AZURE_STORAGE_CONNECTION_STRING."
        )
    protocol, suffix = parts.get("DefaultEndpointsProtocol", "https"), parts.get("EndpointSuffix")
    derived = f"{protocol}://{account}.blob.{suffix}" if suffix else ""
    options = {
        "account_name": account,
        "account_key": parts.get("AccountKey") or environment.get("AZURE_STORAGE_KEY"),  # the variable of `az`
        "sas_key": parts.get("SharedAccessSignature"),
        "endpoint": parts.get("BlobEndpoint")
        or derived
        or _first(environment, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    }
    config: dict[str, Any] = {key: value for key, value in options.items() if value}
    others = ("ACCOUNT_KEY", "ACCESS_KEY", "MASTER_KEY", "SAS_KEY", "SAS_TOKEN", "TOKEN", "CLIENT_ID")
    known = [*(f"AZURE_STORAGE_{name}" for name in others), "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"]
    known += ["AZURE_SKIP_SIGNATURE", "AZURE_USE_AZURE_CLI", "AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT"]
    has_credentials = {"account_key", "sas_key"} & config.keys() or any(environment.get(name) for name in known)
    if not has_credentials and shutil.which("az"):
        config["use_azure_cli"] = True  # a person's machine; otherwise obstore asks the virtual machine's identity
    return config


def _first(environment: Mapping[str, str], *variables: str) -> str:
    return next((value for variable in variables if (value := environment.get(variable))), "")
