"""`open_bucket` understands what a user writes, and says what works where it does not."""

import pytest

from tuner.bucket import open_bucket
from tuner.errors import UsageError


@pytest.mark.parametrize("url", ["s3://bucket/x", "file:///tmp/x", "GS://bucket", "http://host/x"])
def test_another_scheme_is_refused_with_what_works(url: str) -> None:
    with pytest.raises(UsageError, match=r"is not supported\. Write a folder's path .* or gs://BUCKET/PREFIX"):
        open_bucket(url)


@pytest.mark.parametrize(
    "url", ["gs://", "gs:/bucket", "gs:///x", "gs://B", "gs://-a", "gs://a_bucket?x", "gs://bucket name/x"]
)
def test_a_url_without_a_valid_bucket_name_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="has no valid bucket name after gs://"):
        open_bucket(url)


@pytest.mark.parametrize("url", ["gs://bucket/a//b", "gs://bucket/../a", "gs://bucket/a\\b"])
def test_a_prefix_that_is_no_name_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="has a prefix that is not a valid object name"):
        open_bucket(url)


@pytest.mark.parametrize("url", ["", "  "])
def test_an_empty_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        open_bucket(url)
