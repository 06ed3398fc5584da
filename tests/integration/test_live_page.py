"""The live page of a real search: its chief is killed under an open page, and the page goes on with the next one."""

import re
import signal

from tests.integration.support import Place, settings, space
from tests.support.browser import chromium, open_page
from tests.support.scrape import until
from tuner.study.records import TrialState

TRIALS, EPOCHS = 2, 3


def test_an_open_page_goes_on_with_the_next_chief_and_sees_the_search_to_its_end(
    place: Place, two_colours: str
) -> None:
    hold = place.gate / "hold-2"
    hold.touch()
    command = place.start(
        *("run", "--data", two_colours, "--workers", "1", *space("GatedLine")),
        *settings(search__max_trials=TRIALS, training__epochs=EPOCHS, data__batch_size=16),
        *settings(search__early_stopping__policy="none"),
    )
    place.wait_for(lambda state: any(len(t.epochs) == 2 for t in state.trials.values()), "two epochs", command)
    address = re.search(r"Live page: (http://\S+/)", command.printed())
    assert address is not None
    with chromium() as browser, open_page(browser, address[1]) as view:
        page = view.page
        page.wait_for_selector("#workers tr:has-text('worker-0'):has-text('training'):has-text('3 / 3')")
        assert page.inner_text("#search") == "running"
        place.kill(signal.SIGKILL, "chief")
        page.wait_for_selector("#notice:has-text('The chief has not answered')")
        page.wait_for_selector("#about:has-text('chief number 2')", timeout=120_000)
        page.wait_for_selector("#notice", state="hidden")
        page.wait_for_selector("#workers tr:has-text('worker-0'):has-text('training')")
        hold.unlink()
        page.wait_for_selector("#notice:has-text('The search has finished')", timeout=120_000)
        page.wait_for_selector("#notice:has-text('The best model is being evaluated')", timeout=120_000)
        page.wait_for_selector("#notice:has-text('The best model has been evaluated')", timeout=120_000)
        trials = {trial.trial_id: trial for trial in place.state().trials.values()}
        rows = page.locator("#table tbody tr")
        assert {row.split("\t")[0] for row in rows.all_inner_texts()} == set(trials)
        for trial_id, trial in trials.items():
            assert trial.state is TrialState.COMPLETED
            row_text = page.inner_text(f"tr[data-trial='{trial_id}']")
            assert f"{EPOCHS} / {EPOCHS}" in row_text
            assert f"{trial.score:.4f}" in row_text
        view.screenshot("live-real")
    assert command.wait().code == 0


def test_an_open_page_hears_that_the_evaluation_failed(place: Place, two_colours: str) -> None:
    command = place.start(
        *("run", "--data", two_colours, "--workers", "1"),
        *settings(search__max_trials=1, training__epochs=1, data__batch_size=16),
    )
    evaluating = re.compile(r"Evaluating .* Live page: (http://\S+/)")
    address = until("the evaluation", lambda: evaluating.search(command.printed()))
    with chromium() as browser, open_page(browser, address[1]) as view:
        view.page.wait_for_selector("#notice:has-text('The best model is being evaluated')")
        place.kill(signal.SIGKILL, "evaluate")
        view.page.wait_for_selector("#notice:has-text('The evaluation failed')")
    done = command.wait()
    assert done.code == 3
    assert "evaluate: the process was killed by signal 9" in done.err
