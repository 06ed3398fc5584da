"""The dashboard "Search": progress of a study, its best score and its evaluation."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from panels import HALF, RANGE, THIRD, Query, line, new_dashboard, newest, number, of, ranking, share

from tuner.monitoring.metric_names import Metric

BEST = f"max({newest(Metric.BEST_SCORE)})"
ENDED = f"sum(max by (state) ({of(Metric.TRIALS, state='completed|stopped|failed')}))"
PLANNED = f"max({of(Metric.TRIALS_PLANNED)})"
LEFT_S = f"max({newest(Metric.SEARCH_LEFT)})"
GOES_ON = f"max({newest(Metric.SEARCH, state='running')}) == 1"
OVER_AT = f"max(last_over_time({of(Metric.SEARCH_ENDED)}[{RANGE}]))"
PACE = "Estimated from the rate since the chief started. Unknown with hyperband, whose number of epochs is not fixed."


def search() -> Dashboard:
    """Return the dashboard of the search."""
    return (
        new_dashboard("cifake-tune: search", "cifake-tune-search", "Progress of a study and its best score.")
        .with_panel(share("Done", "Fraction of the planned trials that have ended.", Query(f"{ENDED} / {PLANNED}")))
        .with_panel(
            number(
                "Trials ended",
                "none",
                "Number of trials that were completed, stopped early or failed.",
                Query(ENDED, "ended"),
                Query(PLANNED, "planned"),
            )
        )
        .with_panel(
            number(
                "Best score",
                "short",
                "Objective of the best trial so far.",
                Query(BEST),
            )
        )
        .with_panel(
            number(
                "Age of best score",
                "s",
                "Time since the best trial ended.",
                Query(f"time() - max({of(Metric.BEST_SCORE_SINCE)})"),
            )
        )
        .with_panel(number("Time left", "s", PACE, Query(LEFT_S), nothing="unknown"))
        .with_panel(
            number(
                "Finished",
                "dateTimeFromNow",
                f"Time at which the search ended or will end. {PACE}",
                Query(f"1000 * ((time() + {LEFT_S}) or ({OVER_AT} unless {GOES_ON}))"),
                nothing="unknown",
            )
        )
        .with_panel(
            line(
                "Best score so far",
                "short",
                "Objective of the best trial over time.",
                Query(BEST, "best"),
            )
        )
        .with_panel(
            line(
                "Trials",
                "none",
                "Number of trials by state.",
                Query(f"max by (state) ({of(Metric.TRIALS)})", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            ranking(
                "Rungs of early stopping",
                "none",
                "Number of trials that reached each rung, and numbers of trials stopped and paused there.",
                Query(f"max by (rung) ({of(Metric.RUNG_REACHED)})", "rung {{rung}}: reached"),
                Query(f"max by (rung) ({of(Metric.RUNG_STOPPED)})", "rung {{rung}}: stopped"),
                Query(f"max by (rung) ({of(Metric.RUNG_PAUSED)}) > 0", "rung {{rung}}: paused"),
                width=THIRD,
            )
        )
        .with_panel(
            ranking(
                "Attempts",
                "none",
                "Number of attempts by outcome: finished their trial, were interrupted, or failed.",
                Query(f"max by (outcome, reason) ({of(Metric.ATTEMPTS)})", "{{outcome}}: {{reason}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Epochs",
                "none",
                "Number of epochs recorded for all trials, and number of epochs saved by early stopping.",
                Query(f"max({of(Metric.EPOCHS)})", "trained"),
                Query(f"max({of(Metric.EPOCHS_SAVED)})", "saved"),
                width=THIRD,
            )
        )
        .with_row(Row("Evaluation"))
        .with_panel(
            number(
                "Accuracy on the test images",
                "percentunit",
                "Accuracy of the best model with its 95 % confidence interval. The chief exposes it only until it "
                "exits, so this is the last value within the time range.",
                *(
                    Query(f"max(last_over_time({of(metric)}[{RANGE}]))", legend)
                    for metric, legend in (
                        (Metric.ACCURACY, "accuracy"),
                        (Metric.ACCURACY_LOWER, "lower bound"),
                        (Metric.ACCURACY_UPPER, "upper bound"),
                    )
                ),
                width=HALF,
            )
        )
        .with_panel(
            number(
                "Test images",
                "none",
                "Number of test images on which the accuracy was measured.",
                Query(f"max(last_over_time({of(Metric.EVALUATION_IMAGES)}[{RANGE}]))"),
            )
        )
        .with_panel(
            number(
                "State",
                "none",
                "State of the evaluation: waiting, running, done or failed.",
                Query(f"max by (state) (last_over_time({of(Metric.EVALUATION)}[{RANGE}])) > 0", "{{state}}"),
                width=THIRD,
            )
        )
    )
