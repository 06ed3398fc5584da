"""The command `predict`, which classifies new images with a study's best model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.backend import choose_backend, importing_keras
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    ContextOption,
    JsonOption,
    NamespaceOption,
    ReleaseOption,
    StudyNameOption,
)
from tuner.cli.release import bucket_and_study
from tuner.cli.system_limits import check_limits
from tuner.errors import DataError
from tuner.report.terminal.console import make_console, print_line

if TYPE_CHECKING:
    from tuner.evaluation.predictor import Answer
    from tuner.evaluation.result import Calibration

predict_app = typer.Typer()


@predict_app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files, or folders of image files.")],
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            "--heatmap",
            metavar="FOLDER",
            help="Folder for heatmaps (PNG files) of the pixels that supported the predicted class (Grad-CAM).",
        ),
    ] = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the class of images with the study's evaluated model, and the probability of that class.

    Probabilities are calibrated if the evaluation could fit a temperature. Otherwise, a line says that they are not
    calibrated. Images that differ from the training images get a warning. The exit code is 2 if an image cannot be
    read, but all other images are still classified.
    """
    check_limits()
    choose_backend()
    with importing_keras():
        from tuner.evaluation.predictor import open_predictor
        from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        predictor = open_predictor(bucket, find_study(bucket, chosen))
    answers = []
    for answer in predictor.answers(images, heatmap):
        answers.append(answer)
        if not as_json:
            _print_answer(answer)
    if as_json:
        print(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=2))  # noqa: T201
    else:
        _print_calibration(predictor.metrics.calibration)
    failed = [answer for answer in answers if answer.error]
    if failed:
        raise DataError(
            f"{len(failed):,} of {len(answers):,} images could not be predicted. The first of them, "
            f"{_printable(failed[0].image)}, {failed[0].error}. Replace or remove these files."
        )


def _print_calibration(calibration: "Calibration | None") -> None:
    """Print a line if the probabilities are not calibrated, with the reason."""
    from tuner.evaluation.result import Fit
    from tuner.report.calibration_text import calibration_line

    if calibration is None:
        sentence = "The probabilities are not calibrated, because an earlier version made the evaluation."
        print_line(make_console(), sentence, "yellow")
    elif calibration.fit is not Fit.FITTED:
        style = "dim" if calibration.fit is Fit.NOT_NEEDED else "yellow"
        print_line(make_console(), f"The probabilities: {calibration_line(calibration)}.", style)


def _print_answer(answer: "Answer") -> None:
    console = make_console()
    if answer.error:
        print_line(console, f"{_printable(answer.image)}: {answer.error}", "red")
        return
    print_line(console, f"{_printable(answer.image)}: {answer.prediction} {100 * (answer.probability or 0):.1f} %")
    for warning in answer.warnings:
        print_line(console, f"    unlike the training images: {warning}", "yellow")
    if answer.heatmap:
        print_line(console, f"    {_printable(answer.heatmap)}", "dim")


def _printable(name: str) -> str:
    """Return a file's name with its control characters and undecodable bytes replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
