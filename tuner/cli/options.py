"""Options and defaults that several commands share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tuner import names
from tuner.config.loading import load

DEFAULT_BUCKET = "cifake-tune-bucket"

BucketOption = Annotated[
    str,
    typer.Option(
        "--bucket", envvar=names.ENV_BUCKET, help="Bucket with data and results: a folder, or gs://bucket/prefix."
    ),
]
StudyNameOption = Annotated[
    str | None, typer.Option("--study", help="Name of the study; optional if the bucket has only one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release", help="Name of a release of the chart, to read from its cluster.", rich_help_panel="Cluster"
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the release; default: the context's namespace.",
        rich_help_panel="Cluster",
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", help="Context of the kubeconfig; default: the current context.", rich_help_panel="Cluster"
    ),
]


@dataclass
class GlobalOptions:
    """The options before the command's name: typer's context carries them, and `main` reads them after a failure."""

    debug: bool = False


def study_name() -> str | None:
    """Return the study's name from study.yaml or the environment, in a process of a pod or of `run`; else None."""
    file = os.environ.get(names.ENV_STUDY_FILE)
    if file or f"{names.ENV_SETTING}NAME" in os.environ:
        return load(Path(file) if file else None, [], os.environ).name
    return None
