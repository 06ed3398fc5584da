"""Write docs/results.md, and a picture a study, from the folders in docs/results: part of `make docs`.

A test holds that the page is what these files make, and that each accuracy follows from its predictions.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tuner.evaluation.result import Metrics
from tuner.report.text import duration, interval, percent

HERE = Path(__file__).parents[1] / "docs" / "results"
PAGE = HERE.parent / "results.md"
PUBLISHED = "92.98 %"
"""Bird and Lotfi's own network, https://arxiv.org/abs/2303.14126."""
AIMS = {"deep-2-cores": ("on two cores", 0.978), "deep-h100": ("on a GPU", 0.986)}
"""What the studies whose names begin so are meant to reach, without flips."""

HEAD = f"""# Results

*Made by `make docs` out of the files in `docs/results/`, which the studies' buckets had; nothing here is typed. Studies
from before `mixing` was a hyperparameter have been given `mixing: none`; what they drew at random would be drawn
otherwise now, so a row of a table, as `space.values`, is what trains a model again. `seed` computed in float32 then
wherever it ran.*

Accuracy is that of one model on all 20,000 test images of CIFAKE, which were read once, after the search; the model is
the one with the best accuracy on held-out training images. "Leak-free" leaves out the test images that are, byte
for byte, training images too. "With flips" predicts each image and its mirror image. The paper that published the data
and the space `seed` has {PUBLISHED}. Intervals are 95 %, Wilson's.

"""


def main() -> None:
    """Write the page and the pictures."""
    for folder in studies():
        (folder / "curves.png").write_bytes(curves_png(folder))
    PAGE.write_text(page(), encoding="utf-8")


def studies() -> list[Path]:
    """Return the folders of the studies, by name."""
    return sorted(path.parent for path in HERE.glob("*/metrics.json"))


def without_a_result() -> list[Path]:
    """Return the folders of the studies that are ready to be run."""
    return sorted(path.parent for path in HERE.glob("*/study.yaml") if not (path.parent / "metrics.json").exists())


def page() -> str:
    """Return the page, as Markdown."""
    rows = "".join(_row(folder) for folder in studies())
    table = "| study | space | accuracy | leak-free | with flips | search |\n| --- | --- | --- | --- | --- | --- |\n"
    sections = "".join(_section(folder) for folder in studies())
    return HEAD + table + rows + _reached() + sections + (_ready() if without_a_result() else "")


def _reached() -> str:
    lines = []
    for start, (where, aim) in AIMS.items():
        found = [_metrics(folder) for folder in studies() if folder.name.startswith(start)]
        best = max(found, key=lambda metrics: metrics.accuracy)
        outcome = "reached" if best.accuracy >= aim else "missed"
        flips = f" ({percent(best.with_flips.accuracy)} with flips)" if best.with_flips else ""
        lines.append(f"- {percent(aim)} {where}: {outcome} with {percent(best.accuracy)}{flips}.\n")
    return "\nWhat `deep` was meant to reach:\n\n" + "".join(lines)


def _row(folder: Path) -> str:
    metrics, settings, run = _metrics(folder), _settings(folder), _read(folder, "run.json")
    clean, flips = metrics.accuracy_without_leaked, metrics.with_flips
    assert clean.accuracy is not None
    with_flips = percent(flips.accuracy) if flips else ""
    return (
        f"| [{folder.name}](#{folder.name}) | `{settings['space']['name'] or settings['space']['import']}` "
        f"| **{percent(metrics.accuracy)}** ({interval(metrics.accuracy_interval_95)}) "
        f"| {percent(clean.accuracy)} | {with_flips} | {duration(run['search_s'])}, {run['machine']} |\n"
    )


def _section(folder: Path) -> str:
    metrics, settings, run, trials = (
        _metrics(folder), _settings(folder), _read(folder, "run.json"), _read(folder, "trials.json"),
    )  # fmt: skip
    ended = sum(trial["state"] in ("COMPLETED", "STOPPED", "FAILED") for trial in trials)
    end = "" if run["finished"] else (
        " It was cut off before all trials had ended; what is evaluated is the best of those that had."
    )  # fmt: skip
    epochs = sum(len(trial["epochs"]) for trial in trials)
    best = "  ".join(f"{key}={_short(value)}" for key, value in metrics.hyperparameters.items())
    return f"""
## {folder.name}

```console
$ {_command(folder)}
```

On {run["machine"]}, with {metrics.versions.backend}, Keras {metrics.versions.keras}. Seed {metrics.seed}, \
{settings["search"]["algorithm"]} search, {settings["training"]["epochs"]} epochs a trial at most, batches of \
{settings["data"]["batch_size"]}. {ended} of {settings["search"]["max_trials"]} trials and {epochs:,} epochs \
in {duration(run["search_s"])}.{end}{" " + run["remark"] if "remark" in run else ""}

Best: trial {metrics.best_trial}, after epoch {metrics.best_epoch + 1}: `{best}`. On the \
{metrics.validation_images:,} validation images: {percent(metrics.validation_accuracy or 0)}.

{_confusion(metrics)}
| trial | state | epochs | validation | hyperparameters |
| --- | --- | --- | --- | --- |
{"".join(_trial_row(trial) for trial in _by_score(trials))}
![Validation accuracy by epoch](results/{folder.name}/curves.png)

[metrics.json](results/{folder.name}/metrics.json) has all that was measured, \
[predictions.csv.gz](results/{folder.name}/predictions.csv.gz) the prediction for each test image, \
[trials.json](results/{folder.name}/trials.json) every epoch of every trial.
"""


def _command(folder: Path) -> str:
    run = _read(folder, "run.json")
    program = f"cifake-tune run --study docs/results/{folder.name}/study.yaml --data cifake.zip"
    return " ".join([*run["environment"], program, f"--workers {run['workers']}"])


def _ready() -> str:
    commands = "".join(
        f"$ {_command(folder)}    # {_read(folder, 'run.json')['machine']}\n" for folder in without_a_result()
    )
    return f"\n## Not run to the end yet\n\n```console\n{commands}```\n"


def _confusion(metrics: Metrics) -> str:
    head = (
        "| truth \\ predicted | " + " | ".join(metrics.classes) + " |\n| --- |" + " --- |" * len(metrics.classes) + "\n"
    )
    return head + "".join(
        f"| {name} | " + " | ".join(f"{images:,}" for images in row) + " |\n"
        for name, row in zip(metrics.classes, metrics.confusion_matrix, strict=True)
    )


def _by_score(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(trials, key=lambda trial: -1 if trial["score"] is None else trial["score"], reverse=True)


def _trial_row(trial: dict[str, Any]) -> str:
    score = "" if trial["score"] is None else percent(trial["score"])
    values = " ".join(f"{key}={_short(value)}" for key, value in trial["hyperparameters"].items())
    return f"| {trial['trial_id']} | {trial['state']} | {len(trial['epochs'])} | {score} | {values} |\n"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def curves_png(folder: Path) -> bytes:
    """Return a PNG: the validation accuracy of each trial by epoch, the best trial's in colour."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = _metrics(folder)
    figure = Figure(figsize=(7, 3.6), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for trial in _read(folder, "trials.json"):
        values = [100 * epoch["val_accuracy"] for epoch in trial["epochs"]]
        best = trial["trial_id"] == metrics.best_trial
        style = {"color": "#123f73", "linewidth": 2.2, "zorder": 3} if best else {"color": "#9aa4b5", "linewidth": 1.0}
        axes.plot(range(1, len(values) + 1), values, marker="." if len(values) == 1 else None, **style)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy, %")
    axes.set_ylim(bottom=max(50.0, axes.get_ylim()[0]))
    axes.set_title(f"{folder.name}: trial {metrics.best_trial} (blue) and the others", loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _metrics(folder: Path) -> Metrics:
    return Metrics.model_validate_json((folder / "metrics.json").read_bytes())


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    return settings


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
