"""Summary of an evaluation for a terminal of 80 columns or more. Elsewhere, it has no colours."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner import names
from tuner.evaluation.own_result import AnyMetrics, OwnMetrics
from tuner.evaluation.result import Fit, Metrics
from tuner.printable import printable
from tuner.report.calibration_text import calibration_line, errors_line
from tuner.report.class_rows import class_rows, most_confused, omitted_classes
from tuner.report.terminal.search import NOT_VERIFIED
from tuner.report.text import accuracy_line, counted, percent, score
from tuner.study.confirmation import mean_text

WIDEST_MATRIX = 8
"""Maximum number of classes that fit into 80 columns. With more, the most frequent confusions are listed."""
MOST_CONFUSED = 5
"""Number of confusions listed."""


def summary(metrics: AnyMetrics, bucket_url: str | None = None) -> Group:
    """Return the summary for a rich Console. `bucket_url` is prefixed to the folder of the files."""
    if isinstance(metrics, OwnMetrics):
        return Group(_results(metrics), Text(), _best(metrics), Text(), _files(metrics, bucket_url))
    parts: list[RenderableType] = [_accuracies(metrics), Text(), _per_class(metrics)]
    parts += [Text(omitted_classes(metrics), "dim"), Text()] if omitted_classes(metrics) else [Text()]
    parts += [_matrix(metrics) if len(metrics.classes) <= WIDEST_MATRIX else _most_confused(metrics)]
    parts += [Text(), _best(metrics), Text(), _files(metrics, bucket_url)]
    return Group(*parts)


def _accuracies(metrics: Metrics) -> Table:
    rows = _rows()
    rows.add_row(
        Text("accuracy", "bold"),
        Text(accuracy_line(metrics.accuracy, metrics.accuracy_interval_95, metrics.images), "bold green"),
    )
    if flips := metrics.with_flips:
        rows.add_row("with flips", accuracy_line(flips.accuracy, flips.accuracy_interval_95, metrics.images))
    clean = metrics.accuracy_without_leaked
    if clean.accuracy is not None and clean.accuracy_interval_95 is not None and clean.leaked_images:
        rows.add_row("not in train", accuracy_line(clean.accuracy, clean.accuracy_interval_95, clean.images))
        rows.add_row(
            "", Text(f"without {counted(clean.leaked_images, 'test image')} that are also training images", "dim")
        )
    elif clean.leaked_images:
        rows.add_row("", Text("every test image is also a training image", "red"))
    else:
        rows.add_row("", Text("no test image is also a training image", "dim"))
    if metrics.roc_auc is not None:
        rows.add_row("ROC AUC", score(metrics.roc_auc))
    rows.add_row("log loss", score(metrics.log_loss))
    if calibration := metrics.calibration:
        rows.add_row("calibration", f"error {errors_line(calibration)}")
        style = "dim" if calibration.fit is Fit.FITTED else "yellow"
        rows.add_row("", Text(calibration_line(calibration), style))
    if other := metrics.runner_up:
        low, high = other.difference_interval_95
        ahead = f"{100 * other.difference:+z.2f} points (95 % interval {100 * low:+z.2f} to {100 * high:+z.2f}"
        rows.add_row("to runner-up", Text(f"{ahead}, p = {other.p_value:.2g}), trial {other.trial}"))
    if card := metrics.robustness:
        worst = min(card.disturbances, key=lambda row: row.accuracy)
        rows.add_row("corruptions", f"at worst {percent(worst.accuracy)} ({worst.disturbance})")
    if metrics.test_evaluations > 1:
        rows.add_row("", Text(f"evaluation {metrics.test_evaluations} of this study on the same test images", "yellow"))
    return rows


def _results(metrics: OwnMetrics) -> Table:
    rows = _rows()
    for name, value in metrics.results.items():
        style = "bold green" if name == metrics.main_result else ""
        rows.add_row(Text(printable(name), "bold" if style else ""), Text(score(value), style))
    rows.add_row("", Text(f"computed by {metrics.source}", "dim"))
    if metrics.test_evaluations > 1:
        rows.add_row("", Text(f"evaluation {metrics.test_evaluations} of this study on the same test data", "yellow"))
    return rows


def _per_class(metrics: Metrics) -> Table:
    table = _table("per class", *((column, "right") for column in ("precision", "recall", "F1", "images")))
    for row in class_rows(metrics):
        one = row.scores
        table.add_row(_name(row.name), *(percent(s) for s in (one.precision, one.recall, one.f1)), f"{one.support:,}")
    return table


def _matrix(metrics: Metrics) -> Table:
    table = _table("truth / predicted", *((name, "right") for name in metrics.classes))
    for truth, row in enumerate(metrics.confusion_matrix):
        cells = [
            Text(f"{images:,}", "bold green" if truth == prediction else ("red" if images else "dim"))
            for prediction, images in enumerate(row)
        ]
        table.add_row(_name(metrics.classes[truth]), *cells)
    return table


def _most_confused(metrics: Metrics) -> Table:
    table = _table("truth", ("predicted", "left"), ("images", "right"), ("of the class", "right"))
    for row in most_confused(metrics, MOST_CONFUSED):
        table.add_row(_name(row.truth), _name(row.prediction), f"{row.images:,}", percent(row.share))
    return table


def _best(metrics: AnyMetrics) -> Table:
    rows = _rows()
    rows.add_row(Text("best trial", "bold"), Text(f"{metrics.best_trial}, after epoch {metrics.best_epoch + 1}"))
    if (
        isinstance(metrics, Metrics)
        and metrics.validation_accuracy is not None
        and metrics.validation_interval_95 is not None
    ):
        accuracy = accuracy_line(metrics.validation_accuracy, metrics.validation_interval_95, metrics.validation_images)
        rows.add_row("validation", accuracy)
    mark = f" {NOT_VERIFIED}" if metrics.verified is False else ""
    rows.add_row("chosen by", _name(f"{metrics.objective} {score(metrics.score)}{mark}"))
    if metrics.confirmation and (mean := mean_text(metrics.confirmation[0])):
        rows.add_row("other seeds", _name(f"mean {metrics.objective} {mean}, the best of {len(metrics.confirmation)}"))
    for name, value in metrics.hyperparameters.items():
        rows.add_row(_name(name), _name(f"{value:g}" if isinstance(value, float) else str(value)))
    return rows


def _files(metrics: AnyMetrics, bucket_url: str | None) -> Table:
    folder = names.evaluation(metrics.study)
    rows = _rows()
    location = f"{bucket_url.rstrip('/')}/{folder}" if bucket_url else folder
    rows.add_row(Text("files", "bold"), Text(location, overflow="fold"))
    predictions = (names.PREDICTIONS_CSV,) if isinstance(metrics, Metrics) else ()
    files = (names.REPORT_HTML, names.METRICS_JSON, names.MODEL_CARD, *predictions, names.BEST_MODEL)
    rows.add_row("", Text(", ".join([*(file for file in files if file not in metrics.not_made), "…"]), "dim"))
    if metrics.not_made:
        rows.add_row("", Text(f"not written (see the log): {', '.join(metrics.not_made)}", "red"))
    return rows


def _name(text: str) -> Text:
    """Return a name from users on one line, without control characters and markup."""
    return Text(printable(text))


def _rows() -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(min_width=14, overflow="fold")
    rows.add_column(overflow="fold")
    return rows


def _table(first: str, *columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", show_edge=False)
    table.add_column(first, overflow="ellipsis", min_width=14)
    for name, justify in columns:
        table.add_column(_name(name), justify="right" if justify == "right" else "left", overflow="ellipsis")
    return table
