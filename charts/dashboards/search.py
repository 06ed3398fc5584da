"""The dashboard Search: how far a study is, and how good its best trial."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from panels import HALF, RANGE, THIRD, Query, line, new_dashboard, newest, number, of, ranking, share

from tuner.names import Metric

BEST = f"max({newest(Metric.BEST_SCORE)})"
ENDED = f"sum(max by (state) ({of(Metric.TRIALS, state='completed|stopped|failed')}))"
PLANNED = f"max({of(Metric.TRIALS_PLANNED)})"
LEFT_S = f"max({newest(Metric.SEARCH_LEFT)})"
GOES_ON = f"max({newest(Metric.SEARCH, state='running')}) == 1"
OVER_AT = f"max(last_over_time({of(Metric.SEARCH_ENDED)}[{RANGE}]))"
PACE = "If the rest goes on as it went since the chief was started; hyperband's number of epochs is not known before."


def search() -> Dashboard:
    """How far the search is, and how good."""
    return (
        new_dashboard("cifake-tune: search", "cifake-tune-search", "How far a study is, and how good its best trial.")
        .with_panel(share("Done", "Trials that have ended, of those planned.", Query(f"{ENDED} / {PLANNED}")))
        .with_panel(
            number(
                "Trials ended",
                "none",
                "Completed, stopped early or failed.",
                Query(ENDED, "ended"),
                Query(PLANNED, "planned"),
            )
        )
        .with_panel(
            number(
                "Best score",
                "short",
                "The objective of the best trial so far.",
                Query(BEST),
            )
        )
        .with_panel(
            number(
                "Best score for",
                "s",
                "Since when no trial was better.",
                Query(f"time() - max({of(Metric.BEST_SCORE_SINCE)})"),
            )
        )
        .with_panel(number("Time left", "s", PACE, Query(LEFT_S), nothing="unknown"))
        .with_panel(
            number(
                "Finished",
                "dateTimeFromNow",
                f"When the search was, or will be, over. {PACE}",
                Query(f"1000 * ((time() + {LEFT_S}) or ({OVER_AT} unless {GOES_ON}))"),
                nothing="unknown",
            )
        )
        .with_panel(
            line(
                "Best score so far",
                "short",
                "The best trial's objective over time.",
                Query(BEST, "best"),
            )
        )
        .with_panel(
            line(
                "Trials",
                "none",
                "By state: what runs, what waits for a worker, and what has ended how.",
                Query(f"max by (state) ({of(Metric.TRIALS)})", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            ranking(
                "Rungs of early stopping",
                "none",
                "Trials that reached each rung, and those that were stopped there.",
                Query(f"max by (rung) ({of(Metric.RUNG_REACHED)})", "rung {{rung}}: reached"),
                Query(f"max by (rung) ({of(Metric.RUNG_STOPPED)})", "rung {{rung}}: stopped"),
                width=THIRD,
            )
        )
        .with_panel(
            ranking(
                "Attempts",
                "none",
                "How attempts ended: finished their trial, were interrupted, or failed.",
                Query(f"max by (outcome, reason) ({of(Metric.ATTEMPTS)})", "{{outcome}}: {{reason}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Epochs",
                "none",
                "Epochs that the trials have, and those that early stopping saved.",
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
                "Of the best model, with the ends of its 95 % interval. The chief shows it for a while before it ends; "
                "this is the last value within the time range.",
                *(
                    Query(f"max(last_over_time({of(metric)}[{RANGE}]))", legend)
                    for metric, legend in (
                        (Metric.ACCURACY, "accuracy"),
                        (Metric.ACCURACY_LOWER, "lower end"),
                        (Metric.ACCURACY_UPPER, "upper end"),
                    )
                ),
                width=HALF,
            )
        )
        .with_panel(
            number(
                "Test images",
                "none",
                "How many images the accuracy is of.",
                Query(f"max(last_over_time({of(Metric.EVALUATION_IMAGES)}[{RANGE}]))"),
            )
        )
        .with_panel(
            number(
                "State",
                "none",
                "waiting, running, done or failed: the one with a 1.",
                Query(f"max by (state) (last_over_time({of(Metric.EVALUATION)}[{RANGE}])) > 0", "{{state}}"),
                width=THIRD,
            )
        )
    )
