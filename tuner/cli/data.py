"""The commands `cifake-tune data pack`, `prepare`, `check` and `fetch`."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import names
from tuner.cli.data_options import (
    ColumnsOption,
    ConvertOption,
    LabelsOption,
    ResizeOption,
    TestOption,
    packing_settings,
)
from tuner.cli.options import GlobalOptions, StudyFileOption, study_settings
from tuner.errors import DataError
from tuner.printable import printable
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.data.check import Report
    from tuner.data.manifest import Manifest

data_app = typer.Typer(no_args_is_help=True, help="Pack, check and fetch data sets.")

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Path, or gs://, s3:// or az:// URL, of a folder or archive (zip, tar) with a folder of images for each "
        "class.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

MAX_ROWS = 20
"""Number of classes, sizes and files that are printed."""


@data_app.command("pack")
def pack_command(
    source: SourceArgument,
    bucket: Annotated[
        str,
        typer.Argument(
            metavar="BUCKET", envvar=names.ENV_BUCKET, help="Folder, or gs://, s3:// or az:// URL.", show_default=False
        ),
    ],
    resize: ResizeOption = None,
    convert: ConvertOption = False,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    test: TestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a data set to the bucket as shards of pixels and a manifest, unless the bucket already has the data set."""
    from tuner.bucket import open_bucket
    from tuner.config.loading import load
    from tuner.data.choice import require_labels, splitting_of
    from tuner.data.pack import pack

    began = time.monotonic()
    data = load(None, packing_settings(resize, convert, labels, columns, test)).data
    require_labels(data)
    opened = open_bucket(bucket)
    with shown_progress("reading the source") as progress:
        manifest = pack(
            source,
            opened,
            resize=data.resize,
            convert=data.convert,
            splitting=splitting_of(data),
            progress=progress,
        )
    seconds = time.monotonic() - began
    images = sum(sum(part.counts) for part in manifest.splits.values())
    if as_json:
        _print_json(
            {
                "digest": manifest.digest,
                "source_digest": manifest.source_digest,
                "manifest": names.manifest(manifest.digest),
                "classes": manifest.classes,
                "image_shape": manifest.image_shape,
                "counts": _counts(manifest),
                "images": images,
                "seconds": round(seconds, 3),
                "images_per_second": round(images / seconds, 1),
                "made_test": manifest.made_test and manifest.made_test.model_dump(),
                "notes": manifest.notes,
                "warnings": manifest.warnings,
            }
        )
        return
    console = make_console()
    _print_counts(_counts(manifest), manifest.notes, manifest.warnings)
    print_line(
        console,
        f"{images:,} images packed into {opened.url} in {seconds:.1f} s ({images / seconds:,.0f} images/s). Data set:",
    )
    print_line(console, manifest.digest, style="bold")


@data_app.command("prepare")
def prepare_command(
    context: typer.Context,
    bucket: Annotated[
        str,
        typer.Option(
            "--bucket", envvar=names.ENV_BUCKET, help="Folder, or gs://, s3:// or az:// URL.", show_default=False
        ),
    ],
    study_file: StudyFileOption = None,
) -> None:
    """Pack the study's `data.source`, and record for the chief which data set that is. The chart runs this as a Job."""
    from tuner.bucket import open_bucket
    from tuner.data.prepare import prepare
    from tuner.study.journal import JournalReader

    context.ensure_object(GlobalOptions).quit_url = os.environ.get(names.ENV_QUIT_URL, "")
    study = study_settings(study_file, [], bucket)
    if study.data.own:
        print_line(make_console(), f"study {study.name} brings its own data (data.own), so nothing is packed")
        return
    opened = open_bucket(bucket)
    reader = JournalReader(opened, study.name)
    reader.poll()
    recorded = None if reader.state.study is None else reader.state.data_digest
    with shown_progress("reading the source") as progress:
        choice = prepare(study, opened, progress, recorded)
    manifest = choice.manifest
    if study.data.source is not None and choice.reason:
        print_line(make_console(), choice.reason)
    _print_counts(_counts(manifest), manifest.notes, manifest.warnings)
    print_line(
        make_console(),
        f"study {study.name} uses the data set {manifest.digest} ({manifest.source}) in {opened.url}",
    )


@data_app.command("check")
def check_command(
    source: SourceArgument,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    test: TestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count images, and find corrupt files and exact duplicates. The exit code is 2 if a file is corrupt."""
    from tuner.config.loading import load
    from tuner.data.check import check
    from tuner.data.choice import require_labels, splitting_of

    data = load(None, packing_settings(None, False, labels, columns, test)).data
    require_labels(data)
    with shown_progress("reading the source") as progress:
        report = check(source, splitting=splitting_of(data), progress=progress)
    if as_json:
        _print_json(report.model_dump(mode="json"))
    else:
        _print_report(report)
    if report.corrupt:
        images = sum(sum(by_class.values()) for by_class in report.counts.values())
        raise DataError(
            f"{report.source}: {len(report.corrupt):,} of {images:,} files are corrupt, the first of them "
            f"{report.corrupt[0].path} ({report.corrupt[0].reason}). Replace or remove these files."
        )


@data_app.command("fetch")
def fetch_command(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="Path of the zip file to write, or of a folder for it.")
    ],
    url: Annotated[
        str | None,
        typer.Option("--url", help="Alternative URL of a zip file with the same images.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download CIFAKE from its authors' repository (120,000 images, MIT licence) and verify it."""
    from tuner.data import cifake

    with shown_progress("connecting") as progress:
        path = cifake.fetch(target, url=url or cifake.URL, progress=progress)
    if as_json:
        _print_json({"path": str(path), "verified": True})
    else:
        print_line(
            make_console(), f"{path} is CIFAKE, complete and unchanged. Next, run: cifake-tune data pack {path} BUCKET"
        )


def _print_report(report: "Report") -> None:
    console = make_console()
    print_line(console, f"{report.source}", style="bold")
    _print_counts(report.counts, report.notes, report.warnings)
    for kind in report.kinds[:MAX_ROWS]:
        print_line(
            console, f"{kind.images:,} images of {kind.height}x{kind.width} (height x width) in mode {kind.mode}"
        )
    if len(report.kinds) > MAX_ROWS:
        print_line(console, f"and {len(report.kinds) - MAX_ROWS:,} more sizes and modes")
    if report.advice:
        print_line(console, report.advice)
    print_line(console, f"{len(report.corrupt):,} corrupt files")
    for file in report.corrupt[:MAX_ROWS]:
        print_line(console, f"  {file.path}: {file.reason}")
    if not report.duplicates:
        print_line(console, "no exact duplicates")
    for pairs in report.duplicates[:MAX_ROWS]:
        first, second = pairs.folders
        where = f"within {first}" if first == second else f"across {first} and {second}"
        print_line(console, f"{pairs.pairs:,} pairs of exact duplicates {where}")
    if len(report.duplicates) > MAX_ROWS:
        print_line(
            console, f"and duplicates in {len(report.duplicates) - MAX_ROWS:,} more pairs of folders (see --json)"
        )


def _counts(manifest: "Manifest") -> dict[str, dict[str, int]]:
    return {split: dict(zip(manifest.classes, part.counts, strict=True)) for split, part in manifest.splits.items()}


def _print_counts(counts: dict[str, dict[str, int]], notes: Iterable[str], warnings: Iterable[str]) -> None:
    console = make_console()
    console.print(_counts_table(counts))
    for note in notes:
        print_line(console, note)
    for warning in warnings:
        print_line(console, f"warning: {warning}", style="yellow")


def _counts_table(counts: dict[str, dict[str, int]]) -> "Table":
    """Return a table with a row for each class, at most `MAX_ROWS` of them, and one for all classes."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("class")
    for split in counts:
        table.add_column(split, justify="right")
    classes = list(next(iter(counts.values())))
    for name in classes[:MAX_ROWS]:
        table.add_row(Text(printable(name)), *(f"{by_class[name]:,}" for by_class in counts.values()))
    if len(classes) > MAX_ROWS:
        rest = classes[MAX_ROWS:]
        sums = (f"{sum(by_class[name] for name in rest):,}" for by_class in counts.values())
        table.add_row(f"{len(rest):,} more classes", *sums)
    table.add_row("all", *(f"{sum(by_class.values()):,}" for by_class in counts.values()))
    return table


def _print_json(value: object) -> None:
    print_json(json.dumps(value, indent=2))
