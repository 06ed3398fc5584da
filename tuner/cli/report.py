"""The command `report`, which rebuilds report.html from a study and its evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from tuner import names
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
    refuse_without_release,
)
from tuner.cli.release import bucket_and_study
from tuner.errors import UsageError
from tuner.report.terminal.console import make_console, print_line, shown_wait

report_app = typer.Typer()


@report_app.command()
def report(
    invocation: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="File to write. Default: report.html beside the evaluation in the bucket."
        ),
    ] = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Rebuild report.html from a study and its evaluation in the bucket. Test images are not read."""
    refuse_without_release(invocation, release)
    from tuner.report.rebuild import make_report
    from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        name = find_study(bucket, chosen)
        with shown_wait("writing the report"):
            page = make_report(bucket, name).encode("utf-8", "backslashreplace")
        if out is None:
            object_name = names.evaluation(name, names.REPORT_HTML)
            bucket.write(object_name, page)
            print_line(make_console(), f"{bucket.url.rstrip('/')}/{object_name}")
            return
    try:
        out.write_bytes(page)
    except OSError as error:
        raise UsageError(f"{out}: the report cannot be written ({error.strerror}). Choose another file.") from None
    print_line(make_console(), str(out))
