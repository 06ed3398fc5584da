"""The evaluation as metrics of the chief: the evaluator itself ends too soon to be scraped."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from tuner import names
from tuner.bucket import Bucket
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import reading
from tuner.study.status import EvaluationState, Result


class Evaluation:
    """The evaluation of a study, as the chief sees it."""

    def __init__(self) -> None:
        self.state = EvaluationState.WAITING
        self.result: Result | None = None

    def done(self, bucket: Bucket, study: str) -> None:
        """Take the result from the bucket. Raises BucketError, ValidationError."""
        data = bucket.read(names.evaluation(study, names.METRICS_JSON))
        self.state = EvaluationState.DONE
        self.result = Result.model_validate_json(data)

    def metrics(self) -> Iterable[Metric]:
        """Return what is known."""
        yield reading(catalogue.EVALUATION, {(each.value,): each is self.state for each in EvaluationState})
        if self.result is None:
            return
        lower, upper = self.result.accuracy_interval_95
        yield reading(catalogue.ACCURACY, {(): self.result.accuracy})
        yield reading(catalogue.ACCURACY_LOWER, {(): lower})
        yield reading(catalogue.ACCURACY_UPPER, {(): upper})
        yield reading(catalogue.EVALUATION_IMAGES, {(): self.result.images})
