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
    str | None, typer.Option("--study", help="Name of the study. Optional if the bucket has only one study.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release",
        help="Name of a release of the chart. The command reads from the cluster of this release.",
        rich_help_panel="Cluster",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the release. Default: the context's namespace.",
        rich_help_panel="Cluster",
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", help="Context of the kubeconfig. Default: the current context.", rich_help_panel="Cluster"
    ),
]


@dataclass
class GlobalOptions:
    """Options of all commands. Typer's context carries them, and `run_command` reads them when the command ends."""

    debug: bool = False
    quit_url: str = ""
    """URL to POST to when the command ends (`names.ENV_QUIT_URL`), set by the commands that pods run."""


def study_name() -> str | None:
    """Return the name of the study that environment variables specify, directly or through study.yaml, else None.

    Pods and the processes that `run` starts have these variables.
    """
    file = os.environ.get(names.ENV_STUDY_FILE)
    if file or f"{names.ENV_SETTING}NAME" in os.environ:
        return load(Path(file) if file else None, [], os.environ).name
    return None
