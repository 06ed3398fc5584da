"""What is said of a calibration, in all places alike: whether the probabilities were changed, and why not."""

from tuner.evaluation.result import Calibration, Fit
from tuner.report.text import counted, percent


def calibration_line(found: Calibration) -> str:
    """Return what was done, as `temperature 1.20 (…)` or `not calibrated: …`."""
    images = counted(found.fitted_on_images, "validation image")
    at = f"temperature {found.temperature:.2f}"
    low, high = found.temperature_interval_95 or (found.temperature, found.temperature)
    between = f"95 % interval {low:.2f}-{high:.2f}"
    match found.fit:
        case None:
            return f"{at} (fitted on {images}, by a version that did not ask whether they can tell)"
        case Fit.FITTED:
            return f"{at} ({between}, fitted on {images})"
        case Fit.AT_BOUND:
            return f"{at}, the last that is tried: {images} would have it further from 1, so it is no good fit"
        case Fit.NOT_NEEDED:
            return f"not changed: {images} do not tell the best temperature from 1 ({between})"
        case Fit.TOO_FEW_MISTAKES:
            mistakes = counted(found.fitted_on_mistakes or 0, "mistake")
            return f"not calibrated: {mistakes} on {images}: too few to fit a temperature"


def errors_line(found: Calibration) -> str:
    """Return the calibration error, and what the temperature made of it."""
    if not found.changes:
        return percent(found.error)
    worse = ", which is no better" if found.error_at_temperature >= found.error else ""
    return f"{percent(found.error)}; {percent(found.error_at_temperature)} when calibrated{worse}"
