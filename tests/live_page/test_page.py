"""The page in a real Chromium: what a person sees, whatever is in a study, and without the chief too."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.live_page import studies
from tests.live_page.conftest import BUCKET, serving
from tests.support.browser import OpenPage, Scheme, open_page
from tuner.address import Address
from tuner.live_page.access import PageAccess
from tuner.live_page.routes import LivePage
from tuner.live_page.trial_rows import TrialQuery, trial_page
from tuner.monitoring.http_server import HttpServer, Response
from tuner.study.records import Action, Controlled, TrialState
from tuner.study.state import StudyState
from tuner.study.status import EvaluationSummary

pytestmark = pytest.mark.slow

NODES = 2500
"""So many the page has at most, whatever the study is."""

SECOND_PAGE = "#range:has-text('51\N{EN DASH}100 of 3,000')"


def loaded(view: OpenPage) -> Page:
    view.page.wait_for_selector("main:not([aria-busy])")
    return view.page


def listed_trials(page: Page) -> list[str]:
    return page.locator("#table tbody tr td:first-child").all_inner_texts()


def check(view: OpenPage, url: str) -> None:
    assert view.complaints == []
    assert view.overflow_px() == 0
    assert view.hard_to_read() == []
    assert all(request.startswith(url) for request in view.requests)
    assert view.page.evaluate("document.querySelectorAll('*').length") < NODES


def test_a_page_with_a_token_asks_for_it_once_and_its_address_does_not_keep_it(
    browser: Browser, small: StudyState
) -> None:
    site, token = LivePage(BUCKET, studies.watched(small)), "correct-horse-battery-staple"
    with HttpServer(Address("127.0.0.1", 0), site.routes(PageAccess(token))) as server:
        url = f"http://{server.address}/"
        with open_page(browser, url) as view:
            page = view.page
            view.screenshot("live-token")
            assert (view.hard_to_read(), view.overflow_px()) == ([], 0)
            page.fill("input[name=token]", "0123456789abcdef")
            page.click("button")
            expect(page.locator("p[role=status]")).to_have_text("This is not the token of the live page.")
            page.fill("input[name=token]", token)
            page.click("button")
            assert listed_trials(loaded(view)) == [row.trial for row in trial_page(small, TrialQuery()).rows]
            assert page.url == url
            assert page.evaluate("document.cookie") == ""
            assert page.evaluate("history.length") < 5
            page.goto(f"{url}#state=COMPLETED")
            page.reload()
            page.wait_for_selector("main:not([aria-busy])")
        with open_page(browser, f"{url}?token={token}") as view:
            page = loaded(view)
            assert page.url == url
            assert view.complaints == []


def test_a_link_with_the_token_on_another_site_opens_the_page_and_is_not_in_the_history(
    browser: Browser, small: StudyState
) -> None:
    site, token = LivePage(BUCKET, studies.watched(small)), "correct-horse-battery-staple"
    with HttpServer(Address("127.0.0.1", 0), site.routes(PageAccess(token))) as server:
        link = Response(f'<a href="http://{server.address}/?token={token}">page</a>'.encode(), "text/html")
        with HttpServer(Address("127.0.0.1", 0), {"/": lambda _: link}) as other:
            elsewhere = f"http://localhost:{other.address.port}/"  # another site than 127.0.0.1
            with open_page(browser, elsewhere) as view:
                view.page.click("a")
                assert loaded(view).url == f"http://{server.address}/"
                view.page.go_back()
                assert view.page.url == elsewhere


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("trials", [0, 3, 3000])
def test_it_can_be_read(
    trials: int, width: int, scheme: Scheme, browser: Browser, small: StudyState, large: StudyState
) -> None:
    state = {0: studies.open_study(3), 3: small, 3000: large}[trials]
    with serving(studies.watched(state)) as served, open_page(browser, served.url, width, scheme) as view:
        page = loaded(view)
        check(view, served.url)
        assert listed_trials(page) == [row.trial for row in trial_page(state, TrialQuery()).rows]
        view.screenshot(f"live-{trials}-{width}-{scheme}")


@pytest.mark.parametrize("width", [375, 1280])
def test_hostile_content_is_text_and_nothing_else(width: int, browser: Browser) -> None:
    state = studies.hostile()
    with serving(studies.watched(state)) as served, open_page(browser, served.url, width, "dark") as view:
        page = loaded(view)
        page.on("dialog", lambda dialog: view.complaints.append(f"it said {dialog.message}"))
        for trial in list(state.trials):
            page.click(f"#table tbody tr[data-trial='{trial}'] button")
            page.wait_for_selector(f"dialog[open] h2:has-text('{trial}')")
            assert studies.HOSTILE[:50] in page.inner_text("#trial-body")
            check(view, served.url)
            view.screenshot(f"live-hostile-{trial}-{width}")
            page.keyboard.press("Escape")
        assert page.locator("img, iframe, object, script:not([src='page.js'])").count() == 0
        assert page.evaluate("Object.keys({}.__proto__).length") == 0


def test_a_trial_that_failed_shows_its_traceback(browser: Browser, large: StudyState) -> None:
    with serving(studies.watched(large)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        page.click("#filters button:has-text('failed')")
        expect(page.locator("#table tbody tr:has-text('completed')")).to_have_count(0)
        failed = [trial.trial_id for trial in large.trials.values() if trial.state is TrialState.FAILED]
        assert sorted(listed_trials(page)) == failed
        page.click("#table tbody tr button >> nth=0")
        page.wait_for_selector("dialog[open] pre")
        assert page.text_content("dialog pre") == studies.TRACEBACK
        assert page.locator("dialog .chart svg").count() == 2
        view.screenshot("live-failed")
        assert view.complaints == []


def test_a_paused_search_says_since_when_and_how_it_continues_and_is_not_over(browser: Browser) -> None:
    state = studies.searched(30, 10)
    state.apply(Controlled(at=1e9, request="1", action=Action.PAUSE))
    with serving(studies.watched(state)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        assert page.inner_text("#search") == "paused"
        tile = page.locator("#tiles div:has-text('time left')")
        expect(tile).to_contain_text("paused")
        expect(tile).to_contain_text("cifake-tune resume")
        assert page.locator("#tiles div:has-text('running for')").count() == 1
        assert page.is_hidden("#notice")
        check(view, served.url)


def test_trials_are_sorted_and_paged_with_the_keyboard_and_a_reload_keeps_that(
    browser: Browser, large: StudyState
) -> None:
    worst_first = [row.trial for row in trial_page(large, TrialQuery(sort="score", limit=100)).rows]
    with serving(studies.watched(large)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        head = page.locator("th[data-key=score]")
        head.locator("button").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("th[data-key=score][aria-sort=descending]")
        page.keyboard.press("Enter")
        page.wait_for_selector("th[data-key=score][aria-sort=ascending]")
        page.locator("#next").focus()
        page.keyboard.press("Space")
        page.wait_for_selector(SECOND_PAGE)
        assert listed_trials(page) == worst_first[50:]
        page.reload()
        page.wait_for_selector(SECOND_PAGE)
        assert listed_trials(page) == worst_first[50:]
        assert head.get_attribute("aria-sort") == "ascending"
        assert view.complaints == []


def test_an_address_that_asks_for_nothing_known_shows_what_is_shown_at_first(browser: Browser) -> None:
    state = studies.searched(30, 10)
    with (
        serving(studies.watched(state)) as served,
        open_page(browser, f"{served.url}#state=LOST&sort=constructor") as view,
    ):
        page = loaded(view)
        assert listed_trials(page) == [row.trial for row in trial_page(state, TrialQuery()).rows]
        assert page.is_hidden("#notice")


def test_who_has_the_focus_keeps_it_while_the_study_goes_on_and_after_a_look_at_a_trial(browser: Browser) -> None:
    state = studies.searched(30, 20)
    last = trial_page(state, TrialQuery()).rows[-1].trial
    with serving(studies.watched(state)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        page.locator(f"tr[data-trial='{last}'] button").focus()
        served.take = studies.watched(studies.searched(30, 28))
        expect(page.locator("#table tbody tr")).to_have_count(28)
        focused = "document.activeElement.closest('tr')?.dataset.trial"
        assert page.evaluate(focused) == last
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog:not([open])", state="attached")
        assert page.evaluate(focused) == last


def test_where_every_trial_failed_it_says_that_none_has_a_score(browser: Browser) -> None:
    with serving(studies.watched(studies.finish(studies.failed()))) as served, open_page(browser, served.url) as view:
        tile = loaded(view).locator("#tiles div").first
        assert "no trial has a score" in tile.inner_text()


def test_it_says_that_a_fault_has_ended_the_search_and_which(browser: Browser) -> None:
    with serving(studies.watched(studies.faulty())) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        assert page.inner_text("#search") == "ended with a fault"
        reason = "trial 00000 raised FatalError, which ends the search: the model has no loss"
        assert reason in page.inner_text("#tiles")


def test_a_space_with_its_own_data_has_samples_per_second(browser: Browser) -> None:
    images, own = (studies.searched(20, 20, workers=8) for _ in range(2))
    assert own.study is not None
    own.study = own.study.model_copy(update={"data": own.study.data.model_copy(update={"own": True})})
    for state, unit in ((images, "images/s"), (own, "samples/s")):
        with serving(studies.watched(state)) as served, open_page(browser, served.url) as view:
            page = loaded(view)
            assert page.inner_text("#speed") == unit
            assert f" {unit}" in page.inner_text("#tiles")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_says_that_the_chief_is_away_and_goes_on_when_it_is_back(browser: Browser, scheme: Scheme) -> None:
    state = studies.searched(30, 10)
    with serving(studies.watched(state)) as served, open_page(browser, served.url, scheme=scheme) as view:
        page = loaded(view)
        served.end()
        page.wait_for_selector("#notice:has-text('The chief has not answered since')")
        assert page.evaluate("document.body.classList.contains('stale')")
        assert len(listed_trials(page)) == 10
        assert view.hard_to_read() == []
        view.screenshot(f"live-away-{scheme}")
        served.begin()
        served.take = lambda: None
        page.wait_for_selector("#notice:has-text('the chief is starting')")
        served.take = studies.watched(studies.searched(30, 20))
        page.wait_for_selector("#notice", state="hidden")
        expect(page.locator("#table tbody tr")).to_have_count(20)
        assert not page.evaluate("document.body.classList.contains('stale')")


def test_it_says_that_the_search_is_over_and_where_the_evaluation_is_also_when_the_chief_has_gone(
    browser: Browser,
) -> None:
    state = studies.finish(studies.searched(30, 30, workers=1))
    with serving(studies.watched(state, remaining_s=None)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        place = f"gs://bucket/prefix/studies/{state.settings.name}/evaluation/"
        notice = page.inner_text("#notice")
        assert "The search has finished" in notice
        assert place in notice
        assert page.inner_text("#search") == "finished"
        view.screenshot("live-over")
        served.end()
        page.evaluate("dispatchEvent(new Event('online'))")  # it looks every ten seconds only
        page.wait_for_selector("#notice:has-text('its chief has exited')")
        assert place in page.inner_text("#notice")
        assert not page.evaluate("document.body.classList.contains('stale')")


def test_the_result_of_the_evaluation_is_shown_with_its_interval_and_its_images(browser: Browser) -> None:
    state = studies.finish(studies.searched(30, 30, workers=1))
    result = EvaluationSummary(accuracy=0.945, accuracy_interval_95=(0.918, 0.9635), images=20_000)
    with serving(studies.watched(state, None, result)) as served, open_page(browser, served.url, 375) as view:
        page = loaded(view)
        tile = page.inner_text("#tiles div:has-text('test accuracy')")
        assert tile.split("\n")[1:] == ["94.50 %", "95 % interval 91.80-96.35 %, 20,000 images"]
        assert "The best model has been evaluated" in page.inner_text("#notice")
        check(view, served.url)


def test_the_result_of_a_space_with_its_own_data_is_shown_by_its_names(browser: Browser) -> None:
    state = studies.finish(studies.searched(30, 30, workers=1))
    result = EvaluationSummary(results={"mae": 0.25, "r2": 0.875})
    with serving(studies.watched(state, None, result)) as served, open_page(browser, served.url, 375) as view:
        tile = loaded(view).inner_text("#tiles div:has-text('test mae')")
        assert tile.split("\n")[1:] == ["0.2500", "r2 0.8750"]
        check(view, served.url)


def test_charts_are_pictures_with_words_and_tell_what_the_pointer_is_at(browser: Browser, large: StudyState) -> None:
    with serving(studies.watched(large)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        best = large.best()[0]
        label = page.get_attribute("#history svg", "aria-label") or ""
        assert f"{best.score:.4f}" in label
        assert best.trial_id in label
        box = page.locator("#history svg .mark").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector(f"#history-readout:has-text('trial {best.trial_id}: {best.score:.4f}')")


def test_hundreds_of_workers_are_counted_and_the_silent_ones_come_first(browser: Browser) -> None:
    state = studies.searched(1000, 300, workers=250)
    with serving(studies.watched(state)) as served, open_page(browser, served.url) as view:
        page = loaded(view)
        running = sum(trial.state is TrialState.RUNNING for trial in state.trials.values())
        assert f"{running - 1} of {running + 1} are training." in page.inner_text("#workers-note")
        rows = page.locator("#workers tbody tr")
        assert rows.count() <= 100
        assert "silent" in rows.first.inner_text()
        check(view, served.url)
