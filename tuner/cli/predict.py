"""The command `predict`, which classifies new images with a study's best model."""

import json
from collections.abc import Iterable
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
    refuse_without_release,
)
from tuner.cli.release import bucket_and_study
from tuner.cli.system_limits import check_limits
from tuner.errors import DataError
from tuner.printable import printable
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress, shown_wait, waited_for

if TYPE_CHECKING:
    from tuner.evaluation.predictor import Answer
    from tuner.evaluation.result import Calibration

predict_app = typer.Typer()


@predict_app.command()
def predict(
    invocation: typer.Context,
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
    refuse_without_release(invocation, release)
    check_limits()
    choose_backend()
    from tuner.study.journal import find_study

    with bucket_and_study(bucket_url, study, release, namespace, context) as (bucket, chosen):
        name = find_study(bucket, chosen)  # before Keras is imported, which takes seconds
        with shown_wait("importing Keras", stderr_is_hidden=True), importing_keras():
            from tuner.evaluation.predictor import AT_ONCE, open_predictor
        with shown_wait("loading the model"):
            predictor = open_predictor(bucket, name)
    if as_json:
        answers = _collected(predictor.answers(images, heatmap))
        print_json(json.dumps([answer.model_dump(mode="json") for answer in answers], indent=2))
    else:
        answers = []
        for answer in waited_for(predictor.answers(images, heatmap), "predicting", AT_ONCE):
            answers.append(answer)
            _print_answer(answer)
        _print_calibration(predictor.metrics.calibration)
    failed = [answer for answer in answers if answer.error]
    if failed:
        raise DataError(
            f"{len(failed):,} of {len(answers):,} images could not be predicted. The first of them, "
            f"{printable(failed[0].image)}, {failed[0].error}. Replace or remove these files."
        )


def _collected(answers: "Iterable[Answer]") -> "list[Answer]":
    """Return all answers, and show the progress, since nothing is printed meanwhile."""
    from tuner.data.source import Progress

    collected = []
    with shown_progress("predicting") as progress:
        for answer in answers:
            collected.append(answer)
            progress(Progress("predicting", len(collected), 0))
    return collected


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
        print_line(console, f"{printable(answer.image)}: {answer.error}", "red")
        return
    print_line(
        console,
        f"{printable(answer.image)}: {printable(answer.prediction or '')} {100 * (answer.probability or 0):.1f} %",
    )
    for warning in answer.warnings:
        print_line(console, f"    unlike the training images: {warning}", "yellow")
    if answer.heatmap:
        print_line(console, f"    {printable(answer.heatmap)}", "dim")
