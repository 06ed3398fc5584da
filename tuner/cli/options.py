"""Options and defaults that several commands share, and checks of options that would have no effect.

Modules that need pydantic are imported inside functions, because every command imports this one.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import names
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.config.loading import Loaded
    from tuner.config.settings import Study

log = logging.getLogger(__name__)

DEFAULT_BUCKET = "cifake-tune-bucket"
FILE_SUFFIXES = (".yaml", ".yml")


def _complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Return the studies of a bucket that is a folder, for the completion of `--study`. A network could take long."""
    url = str(context.params.get("bucket_url") or DEFAULT_BUCKET)
    folder = Path(url, names.STUDIES_PREFIX)
    if "://" in url or not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(incomplete))


BucketOption = Annotated[
    str,
    typer.Option(
        "--bucket",
        envvar=names.ENV_BUCKET,
        help="Bucket with data and results: a folder, or gs://, s3:// or az://BUCKET/PREFIX.",
    ),
]
StudyNameOption = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="Name of the study, or path of its study.yaml. Optional if the bucket has only one study.",
        autocompletion=_complete_study,
    ),
]
StudyFileOption = Annotated[
    str | None,
    typer.Option(
        "--study",
        envvar=names.ENV_STUDY_FILE,
        help="Path of study.yaml, or name of a study in the bucket, which continues with its settings. "
        "Default: the default settings.",
        autocompletion=_complete_study,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ReleaseOption = Annotated[
    str | None,
    typer.Option(
        "--release",
        help="Name of a release of the chart. The command uses the cluster and the bucket of this release.",
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
    from tuner.config.loading import load

    file = os.environ.get(names.ENV_STUDY_FILE)
    if file and not _is_file(file):
        return file
    if file or f"{names.ENV_SETTING}NAME" in os.environ:
        return load(Path(file) if file else None, [], os.environ).name
    return None


def named_study(option: str | None) -> str | None:
    """Return the name of the study that the option `--study` names, directly or by its file, or else the environment.

    None if neither names one. Raises ConfigError if the file is invalid.
    """
    from tuner.config.loading import load

    if option is None:
        return study_name()
    return load(Path(option), [], {}).name if _is_file(option) else option


def study_settings(option: str | None, settings: list[str], bucket_url: str) -> "Study":
    """Return the settings that `loaded_settings` loads. Raises as it does."""
    return loaded_settings(option, settings, bucket_url).study


def loaded_settings(option: str | None, settings: list[str], bucket_url: str, name: str = "") -> "Loaded":
    """Return the settings of a command that runs a study: those of a file, or those that the named study began with.

    Environment and `settings` (the arguments of `--set`) override both. `name` is the study's name if none is set.
    Raises ConfigError if they are invalid, and UsageError if there is neither such a file nor such a study.
    """
    from tuner.config.loading import load_given

    if option is None or _is_file(option):
        loaded = load_given(Path(option) if option is not None else None, settings, os.environ, name=name)
    else:
        loaded = load_given(None, settings, os.environ, _recorded(option, bucket_url))
    if names.ENV_PARENT not in os.environ:  # `run` has warned, and gives its processes the names that are recorded
        for warning in loaded.warnings:
            log.warning("%s", warning)
    return loaded


def _recorded(option: str, bucket_url: str) -> "Study":
    from tuner.bucket import open_bucket
    from tuner.study.journal import JournalReader, find_study, no_study

    bucket = open_bucket(bucket_url)
    try:
        reader = JournalReader(bucket, find_study(bucket, option))
        reader.poll()
        if reader.state.study is None:
            raise no_study(bucket, option)
    except UsageError as error:
        raise UsageError(f"--study {option:.200}: there is no such file, and {error}") from None
    return reader.state.study


def _is_file(option: str) -> bool:
    """Return whether `--study` gives a file. A text without its suffix is a name if there is no such file.

    A folder may have the name of a study by chance. A pipe is a file here, for `--study <(…)` of a shell.
    """
    path = Path(option)
    return option.endswith(FILE_SUFFIXES) or (path.exists() and not path.is_dir())


def refuse_without_release(invocation: typer.Context, release: str | None) -> None:
    """Raise UsageError if an option is given that has no effect without, or with, `--release`."""
    if release is None:
        unused = {"namespace": "--namespace", "context": "--context"}
        refuse(invocation, unused, "without --release. Add --release NAME")
    else:
        refuse(
            invocation, {"bucket_url": "--bucket"}, "with --release, because the release has its own bucket. Remove it"
        )


def refuse(invocation: typer.Context, options: Mapping[str, str], condition: str) -> None:
    """Raise UsageError if one of the options was given on the command line.

    Args:
        invocation: The command's context.
        options: Parameter of the command's function, and name of the option.
        condition: The rest of the sentence `--option has no effect …`, and the remedy.
    """
    for parameter, option in options.items():
        source = invocation.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{option} has no effect {condition}.")
