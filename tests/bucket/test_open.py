"""`open_bucket` understands what a user writes, and says what works where it does not."""

import pytest

from tuner.bucket import SCHEMES, open_bucket
from tuner.errors import UsageError


@pytest.mark.parametrize("url", ["abfs://bucket/x", "file:///tmp/x", "GS://bucket", "http://host/x"])
def test_another_scheme_is_refused_with_what_works(url: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"is not supported\. Write a folder's path .* gs://BUCKET/PREFIX, s3://BUCKET/.* or az://CONTAINER/PREFIX",
    ):
        open_bucket(url)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rest", ["://", ":/bucket", ":///x", "://B", "://-a", "://a_bucket?x", "://bucket name/x"])
def test_a_url_without_a_valid_bucket_name_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(UsageError, match=f"has no valid bucket name after {scheme}://"):
        open_bucket(scheme + rest)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rest", ["://bucket/a//b", "://bucket/../a", "://bucket/a\\b"])
def test_a_prefix_that_is_no_name_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(UsageError, match="has a prefix that is not a valid object name"):
        open_bucket(scheme + rest)


@pytest.mark.parametrize("url", ["", "  "])
def test_an_empty_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        open_bucket(url)
