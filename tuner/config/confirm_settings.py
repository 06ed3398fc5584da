"""The section `search.confirm` of study.yaml: training the best trials of a search again, with other seeds."""

from typing import Annotated

from pydantic import Field

from tuner.config.section import Settings

MOST = 100
"""Upper bound of both numbers."""


class Confirm(Settings):
    """Training of the best trials again, with other seeds, after the search.

    The best of many scores is partly luck: of the seed, not of the hyperparameters. So after the search, its best
    trials are trained again to their last epoch, and the hyperparameters with the best mean score win. The score of the
    search does not count in the mean, because the trial was chosen for it. These trainings are trials too, which no
    count of trials includes. Budgets of hours include them.
    """

    best: Annotated[int, Field(ge=1, le=MOST)] = 3
    """Number of trials that are trained again: the best ones that have a saved model. Default: 3."""

    seeds: Annotated[int, Field(ge=0, le=MOST)] = 0
    """Number of times that each of them is trained again. Default: 0, so that no trial is trained again. 3 are enough
    if trials differ by more than the same hyperparameters do with other seeds."""

    @property
    def is_on(self) -> bool:
        """Whether trials are trained again."""
        return self.seeds > 0

    @property
    def trainings(self) -> int:
        """Number of trainings of a search that finds enough trials."""
        return self.best * self.seeds
