"""The commands `export keras-tuner`, `export model` and `export mlflow`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.backend import choose_backend, importing_keras
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
from tuner.cli.system_limits import check_limits
from tuner.errors import UsageError
from tuner.export.formats import ModelFormat
from tuner.report.terminal.console import make_console, print_line, shown_wait

if TYPE_CHECKING:
    from tuner.study.state import StudyState

export_app = typer.Typer(no_args_is_help=True)

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder to create. It must not exist, or must be empty.")
]


@export_app.command("keras-tuner")
def keras_tuner_command(
    invocation: typer.Context,
    folder: FolderArgument,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Write a project of plain Keras Tuner, with all ended trials and the weights of the best ones.

    A Tuner with this directory and project name loads it: reload(), get_best_models() and results_summary() work.
    """
    refuse_without_release(invocation, release)
    check_limits()
    choose_backend()
    from tuner.export.folder import exported_folder
    from tuner.report.text import counted
    from tuner.study.journal import find_study, read_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        state = read_study(bucket, find_study(bucket, chosen))
        with shown_wait("importing Keras", stderr_is_hidden=True), importing_keras(whole=True):  # with scipy
            from tuner.export.keras_tuner_project import export_project
        with shown_wait("exporting"), exported_folder(folder) as scratch:
            project = export_project(bucket, state, scratch)
    console, place = make_console(), folder.expanduser().absolute()
    left_out = f" {project.left_out} that have not ended are left out." if project.left_out else ""
    print_line(
        console,
        f"Exported {counted(project.trials, 'trial')} and the weights of {counted(project.models, 'model')} to "
        f"{place}.{left_out} Open the project with:",
    )
    print_line(console, _opening(state, place, project.trials))


def _opening(state: "StudyState", place: Path, trials: int) -> str:
    objective = f"keras_tuner.Objective({state.objective.name!r}, {state.objective.direction!r})"
    return (
        f"keras_tuner.RandomSearch(hypermodel, objective={objective}, max_trials={trials}, "
        f"directory={str(place.parent)!r}, project_name={place.name!r})"
    )


@export_app.command("model")
def model_command(
    invocation: typer.Context,
    folder: FolderArgument,
    output: Annotated[ModelFormat, typer.Option("--format", help="Format of the model.", show_default=False)],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Write the evaluated model for another runtime, with its classes and temperature, and check its predictions.

    The model is written by Keras's model.export. It is then loaded with the format's own runtime, whose probabilities
    must be those of the model for 500 inputs, within 0.001.
    """
    refuse_without_release(invocation, release)
    check_limits()
    backend = choose_backend()
    from tuner.export.folder import exported_folder
    from tuner.export.formats import require_packages
    from tuner.study.journal import find_study

    require_packages(output, backend)
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        name = find_study(bucket, chosen)
        with shown_wait("importing Keras", stderr_is_hidden=True), importing_keras(whole=True):
            from tuner.evaluation.predictor import open_predictor
            from tuner.export.model_file import export_model
        with shown_wait("exporting"), exported_folder(folder) as scratch:
            difference = export_model(bucket, open_predictor(bucket, name), output, scratch)
    print_line(
        make_console(),
        f"Exported the model of study {name} to {folder.expanduser().absolute() / output.file}. Its probabilities "
        f"differ by at most {difference:.1g} from the model's.",
    )


@export_app.command("mlflow")
def mlflow_command(
    invocation: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="URL of an MLflow server, such as http://localhost:5000.")],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Write a study to an MLflow server: a run for the study, and a nested run for each trial.

    What the server already has of the study is not written again. Credentials are MLflow's own environment variables,
    such as MLFLOW_TRACKING_TOKEN.
    """
    refuse_without_release(invocation, release)
    from tuner.config.tracking_settings import mlflow_url
    from tuner.export.mlflow_server import MlflowStudy, require_mlflow
    from tuner.report.text import counted
    from tuner.study.journal import find_study, read_study

    try:
        server = mlflow_url(url)
    except ValueError as error:
        raise UsageError(f"URL {error}.") from None
    require_mlflow()
    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        state = read_study(bucket, find_study(bucket, chosen))
        written = MlflowStudy(bucket, state.settings.name, server)
        with shown_wait("exporting"):
            written.write(state)
    started = sum(trial.started is not None for trial in state.trials.values())
    console = make_console()
    print_line(console, f"Exported study {state.settings.name} with {counted(started, 'trial')} to {written.origin}.")
