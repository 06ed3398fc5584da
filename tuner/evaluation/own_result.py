"""The result of an evaluation by a space with its own data or its own `evaluate`: numbers with the space's names."""

from pydantic import Field

from tuner.config.formats import ABSENT, NewestFormat
from tuner.evaluation.numbers import Count
from tuner.evaluation.result import EvaluationResult, Metrics, ResultModel


class ScriptOutcome(ResultModel):
    """What a script did after its search, in the evaluation."""

    file: str
    """Name of the script's file."""

    evaluations: tuple[dict[str, float], ...]
    """The numbers of each call of `model.evaluate`, in order."""

    printed: str
    """What the script printed after its search."""


class OwnMetrics(EvaluationResult):
    """The evaluation of a study's best trial by its space. `model_dump_json()` is metrics.json.

    It has nothing that is known of images with classes only: accuracy, confusion matrix, calibration, robustness.
    """

    format: NewestFormat = ABSENT
    results: dict[str, float] = Field(min_length=1)
    """The numbers that the space's `evaluate` returned for the test data, or the model's loss and metrics. They may be
    infinite or NaN."""

    own_evaluate: bool
    """Whether they are from the space's `evaluate`. Otherwise, they are from Keras's `model.evaluate`."""

    samples: Count | None = None
    """Number of test samples. None if the test data is a pipeline."""

    script: ScriptOutcome | None = None
    """None if the study has no script. Otherwise, `results` has the numbers of the first call of `model.evaluate`, or
    the score of the best trial if there is none."""

    @property
    def main_result(self) -> str:
        """Name of the number to show first: the objective's, if `results` has it."""
        name = self.objective.removeprefix("val_")
        return name if name in self.results else next(iter(self.results))

    @property
    def source(self) -> str:
        """What computed the numbers, and on what."""
        if self.script is not None and not self.script.evaluations:
            return f"the search, because {self.script.file} called no model.evaluate() after it"
        if self.script is not None:
            return f"{self.script.file} with model.evaluate()"
        method = "the space's evaluate()" if self.own_evaluate else "model.evaluate()"
        data = "the test data" if self.samples is None else f"{self.samples:,} test samples"
        return f"{method} on {data}"


AnyMetrics = Metrics | OwnMetrics
"""The content of metrics.json."""
