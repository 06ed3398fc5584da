"""The commands `cifake-tune data pack`, `prepare`, `check` and `fetch`."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import names
from tuner.errors import DataError
from tuner.printable import printable
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress

if TYPE_CHECKING:
    from rich.table import Table

    from tuner.data.check import Report

data_app = typer.Typer(no_args_is_help=True, help="Pack, check and fetch data sets.")

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Path or gs:// URL of a zip file or folder that contains train/CLASS/ and test/CLASS/.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@data_app.command("pack")
def pack_command(
    source: SourceArgument,
    bucket: Annotated[
        str,
        typer.Argument(
            metavar="BUCKET", envvar=names.ENV_BUCKET, help="Folder or gs://bucket/prefix.", show_default=False
        ),
    ],
    resize: Annotated[
        str | None, typer.Option("--resize", metavar="HxW", help="Resize all images to this height and width.")
    ] = None,
    convert: Annotated[
        bool, typer.Option("--convert", help="Convert greyscale, palette, transparent and CMYK images to RGB.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a data set to the bucket as shards of pixels and a manifest, unless the bucket already has the data set."""
    from tuner.bucket import open_bucket
    from tuner.data.layout import similar_classes
    from tuner.data.pack import pack, parse_size

    began = time.monotonic()
    size = parse_size(resize) if resize else None
    opened = open_bucket(bucket)
    with shown_progress("reading the source") as progress:
        manifest = pack(source, opened, resize=size, convert=convert, progress=progress)
    seconds = time.monotonic() - began
    counts = {split: dict(zip(manifest.classes, part.counts, strict=True)) for split, part in manifest.splits.items()}
    images = sum(sum(part.counts) for part in manifest.splits.values())
    if as_json:
        _print_json(
            {
                "digest": manifest.digest,
                "source_digest": manifest.source_digest,
                "manifest": names.manifest(manifest.digest),
                "classes": manifest.classes,
                "image_shape": manifest.image_shape,
                "counts": counts,
                "images": images,
                "seconds": round(seconds, 3),
                "images_per_second": round(images / seconds, 1),
                "warnings": similar_classes(manifest.classes),
            }
        )
        return
    console = make_console()
    console.print(_counts_table(counts))
    _print_warnings(similar_classes(manifest.classes))
    print_line(
        console,
        f"{images:,} images packed into {opened.url} in {seconds:.1f} s ({images / seconds:,.0f} images/s). Data set:",
    )
    print_line(console, manifest.digest, style="bold")


@data_app.command("prepare")
def prepare_command(
    context: typer.Context,
    bucket: Annotated[
        str, typer.Option("--bucket", envvar=names.ENV_BUCKET, help="Folder or gs://bucket/prefix.", show_default=False)
    ],
    study_file: Annotated[
        Path | None,
        typer.Option("--study", envvar=names.ENV_STUDY_FILE, help="Path of study.yaml. Default: the default settings."),
    ] = None,
) -> None:
    """Pack the study's `data.source`, and record for the chief which data set that is. The chart runs this as a Job."""
    from tuner.bucket import open_bucket
    from tuner.cli.options import GlobalOptions
    from tuner.config.loading import load
    from tuner.data.layout import similar_classes
    from tuner.data.prepare import prepare

    context.ensure_object(GlobalOptions).quit_url = os.environ.get(names.ENV_QUIT_URL, "")
    study = load(study_file, [], os.environ)
    if study.data.own:
        print_line(make_console(), f"study {study.name} brings its own data (data.own), so nothing is packed")
        return
    opened = open_bucket(bucket)
    with shown_progress("reading the source") as progress:
        manifest = prepare(study, opened, progress)
    counts = {split: dict(zip(manifest.classes, part.counts, strict=True)) for split, part in manifest.splits.items()}
    make_console().print(_counts_table(counts))
    _print_warnings(similar_classes(manifest.classes))
    print_line(make_console(), f"study {study.name} uses the data set {manifest.digest} in {opened.url}")


@data_app.command("check")
def check_command(source: SourceArgument, as_json: JsonOption = False) -> None:
    """Count images, and find corrupt files and exact duplicates. The exit code is 2 if a file is corrupt."""
    from tuner.data.check import check

    with shown_progress("reading the source") as progress:
        report = check(source, progress=progress)
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
    console.print(_counts_table(report.counts))
    for kind in report.kinds:
        print_line(
            console, f"{kind.images:,} images of {kind.height}x{kind.width} (height x width) in mode {kind.mode}"
        )
    if len(report.kinds) > 1:
        common = report.kinds[0]
        print_line(
            console,
            f"Pack with --resize {common.height}x{common.width} if sizes differ, and with --convert if modes differ.",
        )
    print_line(console, f"{len(report.corrupt):,} corrupt files")
    for file in report.corrupt[:20]:
        print_line(console, f"  {file.path}: {file.reason}")
    if not report.duplicates:
        print_line(console, "no exact duplicates")
    _print_warnings(report.warnings)
    for pairs in report.duplicates:
        first, second = pairs.folders
        where = f"within {first}" if first == second else f"across {first} and {second}"
        print_line(console, f"{pairs.pairs:,} pairs of exact duplicates {where}")


def _print_warnings(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print_line(make_console(), f"warning: {warning}", style="yellow")


def _counts_table(counts: dict[str, dict[str, int]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    table.add_column("split")
    for name in next(iter(counts.values())):
        table.add_column(Text(printable(name)), justify="right")
    for split, by_class in counts.items():
        table.add_row(split, *(f"{count:,}" for count in by_class.values()))
    return table


def _print_json(value: object) -> None:
    print_json(json.dumps(value, indent=2))
