"""The checker as a command: `python -m tests.chaos.check BUCKET STUDY` prints the verdict; exits 1 where it is bad."""

import argparse
import sys

from tests.chaos.checker import check
from tests.chaos.evidence import Left, read_segments
from tests.chaos.report import print_verdict
from tuner import names
from tuner.bucket import open_bucket
from tuner.errors import CifakeTuneError


def main() -> int:
    """Check one study of a bucket."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.check", description=__doc__)
    parser.add_argument("bucket", help="a folder, or gs://, s3:// or az://bucket/prefix")
    parser.add_argument("study", help="name of the study")
    options = parser.parse_args()
    try:
        bucket = open_bucket(options.bucket)
        segments = read_segments(bucket, options.study)
        if not segments:
            parser.error(f"{bucket.url} has no study {options.study!r}")
        objects = frozenset(bucket.list(names.study_prefix(options.study)))
    except CifakeTuneError as error:
        parser.error(str(error))
    verdict = check(Left(segments, objects))
    print_verdict(verdict)
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
