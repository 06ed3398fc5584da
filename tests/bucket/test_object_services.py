"""Credentials are found where the SDKs of Amazon and Azure find them. The servers check them."""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.support.certificates import Authority
from tests.support.http_server import QuietHandler, server_of, serving
from tests.support.object_servers import ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, SECRET_KEY, AzureServer, S3Server
from tuner.bucket import open_bucket
from tuner.errors import BucketError, UsageError
from tuner.rpc.tls import Files

TOKEN = "a pod's token"
EXPIRY = "2199-01-01T00:00:00Z"


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of a bucket to which the environment leads, without credentials; the home is empty."""
    for variable, value in s3_server.environment().items():
        monkeypatch.setenv(variable, value)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    return f"s3://{s3_server.new_bucket()}"


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return str(path)


def works(url: str) -> bool:
    bucket = open_bucket(url)
    bucket.create("a", b"1")
    return bucket.read("a") == b"1"


# ---- S3 -----------------------------------------------------------------------------------------
@contextmanager
def giving_credentials(files: Files | None = None) -> Iterator[str]:
    """Run a server of credentials: EKS Pod Identity's (GET) and STS (POST), each for the pod's token alone.

    With `files`, it has a certificate.
    """

    class Handler(QuietHandler):
        def _give_to_pod(self) -> None:
            keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": "", "Expiration": EXPIRY}
            self.answer_json(keys, 200 if self.headers["Authorization"] == TOKEN else 403)

        def _give_to_role(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            asked = {key: value[0] for key, value in parse_qs(f"{self.path.partition('?')[2]}&{body}").items()}
            expected = {
                "Action": "AssumeRoleWithWebIdentity",
                "WebIdentityToken": TOKEN,
                "RoleArn": "arn:aws:iam::1:role/x",
            }
            content = (
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
                f"<AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>"
                f"<SessionToken></SessionToken><Expiration>{EXPIRY}</Expiration>"
                "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            ).encode()
            self.send_response(200 if expected.items() <= asked.items() else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET, do_POST = _give_to_pod, _give_to_role  # noqa: N815

    server = server_of(Handler)
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as url:
        yield url.replace("http:", "https:") if files else url


def test_the_keys_of_eks_pod_identity_are_used(s3_url: str, token_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with giving_credentials() as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file)
        assert works(s3_url)


def test_the_role_of_a_service_account_is_assumed(
    s3_url: str, token_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "certificates")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))  # tokens are only sent to a server with TLS
    with giving_credentials(authority.issue("sts", "127.0.0.1")) as address:
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token_file)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
        assert works(s3_url)


@pytest.mark.parametrize("name", ["default", "lab"])
def test_the_keys_of_a_profile_are_used(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / ".aws").mkdir()
    keys = f"[{name}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / ".aws" / "credentials").write_text(keys)
    if name != "default":
        monkeypatch.setenv("AWS_PROFILE", name)
    assert works(s3_url)


def test_a_profile_without_keys_is_read_by_the_aws_command(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile lab]\nsso_session = lab\n")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BucketError, match=r"The profile lab of .* has no keys, and reading it needs the AWS command"):
        open_bucket(s3_url)
    keys = {"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Expiration": EXPIRY}
    expected = "configure export-credentials --format process --profile lab"
    aws = tmp_path / "aws"
    aws.write_text(f"#!/bin/sh\n[ \"$*\" = '{expected}' ] || exit 2\necho '{json.dumps(keys)}'\n")
    aws.chmod(0o755)
    assert works(s3_url)
    aws.write_text("#!/bin/sh\necho 'the session has expired' >&2\nexit 1\n")
    with pytest.raises(BucketError, match="the session has expired"):
        works(s3_url)


def test_the_region_of_a_profile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_url: str) -> None:
    """The server accepts signatures of its own region only."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = us-east-1\n")
    keys = f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / ".aws" / "credentials").write_text(keys)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    with pytest.raises(BucketError, match=r"the bucket is in another region .*Set AWS_REGION"):
        works(s3_url)
    monkeypatch.delenv("AWS_REGION")
    assert works(s3_url)


def test_no_credentials_are_a_sentence_at_once(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BucketError, match=r"No credentials for S3 were found\. On EKS.*AWS_ACCESS_KEY_ID"):
        open_bucket(s3_url)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://169.254.169.254:1")
    with pytest.raises(BucketError, match=r"no credentials were found .*On EKS"):
        open_bucket(s3_url).read("a")


# ---- Azure --------------------------------------------------------------------------------------
@pytest.fixture
def azure_url(azure_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a container to which the environment leads, without credentials."""
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{azure_server.url}/{ACCOUNT}")
    return f"az://{azure_server.new_bucket()}"


@pytest.mark.parametrize("variable", ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"])
@pytest.mark.parametrize("key", ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"])
def test_an_account_and_its_key_are_used(
    azure_url: str, monkeypatch: pytest.MonkeyPatch, variable: str, key: str
) -> None:
    monkeypatch.setenv(variable, ACCOUNT)
    monkeypatch.setenv(key, ACCOUNT_KEY)
    assert works(azure_url)


def test_the_token_of_a_workload_identity_is_exchanged(
    azure_url: str, token_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str]] = []

    class Handler(QuietHandler):
        def _refuse(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append({key: value[0] for key, value in parse_qs(body).items()} | {"path": self.path})
            self.answer_json({"error": "invalid_client", "error_description": "because of this"}, 401)

        do_POST = _refuse  # noqa: N815

    identity = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_CLIENT_ID": "client", "AZURE_TENANT_ID": "tenant"}
    with serving(server_of(Handler)) as authority:
        for variable, value in {**identity, "AZURE_FEDERATED_TOKEN_FILE": token_file}.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
        with pytest.raises(BucketError, match=r"the credentials were refused \(401.*Workload Identity"):
            works(azure_url)
    assert asked[0]["client_assertion"] == TOKEN
    assert asked[0]["client_id"] == "client"
    assert asked[0]["path"].startswith("/tenant/")


def test_a_missing_account_is_a_sentence(azure_url: str) -> None:
    with pytest.raises(UsageError, match=r"needs the name of its storage account\. Set AZURE_STORAGE_ACCOUNT_NAME or"):
        open_bucket(azure_url)


def test_a_key_that_is_none_is_a_sentence(azure_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base 64")
    with pytest.raises(UsageError, match=r"The credentials for az://.* are not valid \(.*\)\. On AKS") as caught:
        open_bucket(azure_url)
    assert not re.search("not base 64", str(caught.value))


def test_half_of_the_keys_of_aws_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(UsageError, match=r"The credentials for s3://half are not valid \(.*Missing SecretAccessKey\)"):
        open_bucket("s3://half")
