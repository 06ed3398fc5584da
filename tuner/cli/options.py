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
    str, typer.Option("--bucket", envvar=names.ENV_BUCKET, help="Folder or gs://bucket/prefix for everything durable.")
]
StudyNameOption = Annotated[
    str | None, typer.Option("--study", help="Name of the study; not needed where the bucket has one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseOption = Annotated[
    str | None,
    typer.Option("--release", help="A release of the chart: look at it in its cluster.", rich_help_panel="Cluster"),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Of the release; default: the context's.", rich_help_panel="Cluster"),
]
ContextOption = Annotated[
    str | None,
    typer.Option("--context", help="Of the kubeconfig; default: its current one.", rich_help_panel="Cluster"),
]


@dataclass
class GlobalOptions:
    """The options before the command's name: typer's context carries them, and `main` reads them after a failure."""

    debug: bool = False


def study_name() -> str | None:
    """Return the name that study.yaml or the environment gives, for a process of a pod or of `run`."""
    file = os.environ.get(names.ENV_STUDY_FILE)
    if file or f"{names.ENV_SETTING}NAME" in os.environ:
        return load(Path(file) if file else None, [], os.environ).name
    return None
