"""Describes whether a calibration was applied and, if not, why, for the page, the card, figures and the terminal."""

from tuner.evaluation.result import Calibration, Fit
from tuner.report.text import counted, percent


def calibration_line(calibration: Calibration) -> str:
    """Return the calibration that was applied, as `temperature 1.20 (…)` or `not calibrated: …`."""
    images = counted(calibration.fitted_on_images, "validation image")
    at = f"temperature {calibration.temperature:.2f}"
    low, high = calibration.temperature_interval_95 or (calibration.temperature, calibration.temperature)
    between = f"95 % interval {low:.2f}-{high:.2f}"
    match calibration.fit:
        case None:
            return f"{at} (fitted on {images}, by a version that did not test for significance)"
        case Fit.FITTED:
            return f"{at} ({between}, fitted on {images})"
        case Fit.AT_BOUND:
            return f"{at}, the limit of those tried; the best one for {images} is further from 1, so the fit is poor"
        case Fit.NOT_NEEDED:
            return f"unchanged: {images} do not distinguish the best temperature from 1 ({between})"
        case Fit.TOO_FEW_MISTAKES:
            mistakes = counted(calibration.fitted_on_mistakes or 0, "mistake")
            return f"not calibrated: too few mistakes to fit a temperature ({mistakes} on {images})"


def errors_line(calibration: Calibration) -> str:
    """Return the calibration error before and after the temperature was applied."""
    if not calibration.changes:
        return percent(calibration.error)
    worse = ", which is no better" if calibration.error_at_temperature >= calibration.error else ""
    return f"{percent(calibration.error)}; {percent(calibration.error_at_temperature)} when calibrated{worse}"
