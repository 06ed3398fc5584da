"""report.html in a real Chromium: with 3 and 3,000 trials, light and dark, narrow and printed, and full of markup."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.evaluation.reports import report_of
from tests.evaluation.searches import HOSTILE, search
from tests.support.browser import Scheme, chromium, open_page
from tests.support.records import state_of
from tuner.names import TrialId
from tuner.report.html_page import ReportContents, report_html
from tuner.study.attempts import attempts_of
from tuner.study.records import Finished

pytestmark = pytest.mark.slow

SIZES = (3, 3000)
LARGEST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int | str, str]:
    """URL of a page by how many trials it is of, or by what is special about it."""
    folder = tmp_path_factory.mktemp("reports")
    many = tuple(f"class {number}" for number in range(20))
    reports: dict[int | str, ReportContents] = {
        **{size: report_of(size) for size in SIZES},
        "hostile": report_of(30, hostile=True),
        "many classes": report_of(30, classes=many),
    }
    urls: dict[int | str, str] = {}
    for name, study in reports.items():
        file = folder / f"{name}.html"
        file.write_text(report_html(study), encoding="utf-8")
        urls[name] = file.as_uri()
    return urls


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("size", [*SIZES, "many classes"])
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (375, "light"), (375, "dark")])
def test_it_can_be_read_in_any_window(
    browser: Browser, pages: dict[int | str, str], size: int | str, width: int, scheme: Scheme
) -> None:
    with open_page(browser, pages[size], width, scheme) as page:
        page.screenshot(f"report-{size}-{width}-{scheme}".replace(" ", "-"))
        assert page.complaints == []
        assert page.overflow_px() <= 0
        assert page.hard_to_read() == []
        assert page.requests == [pages[size], *(url for url in page.requests if url.startswith("data:"))]


@pytest.mark.parametrize("size", SIZES)
def test_it_can_be_printed(browser: Browser, pages: dict[int | str, str], size: int) -> None:
    with open_page(browser, pages[size], 718, "dark") as page:  # A4 less its margins, of somebody who works in the dark
        page.page.emulate_media(media="print", color_scheme="dark")
        assert page.overflow_px() <= 0
        assert page.hard_to_read() == []
        ground = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert page.pdf(f"report-{size}").stat().st_size > 10_000


def test_a_fault_that_ended_the_search_since_is_in_the_head_of_the_page() -> None:
    contents = report_of(3)
    assert "ended with a fault" not in report_html(contents)
    contents.state.apply(Finished(at=1e9, reason="every trial would fail: <b>", failed=True, shared_fault=True))
    head, _, _ = report_html(contents).partition("<h2")
    assert "The search ended with a fault: every trial would fail: &lt;b&gt;" in head


def test_markup_that_users_name_things_with_is_text(browser: Browser, pages: dict[int | str, str]) -> None:
    with open_page(browser, pages["hostile"], 375) as page:
        assert page.complaints == []
        assert page.overflow_px() <= 0
        assert "owned" not in page.page.title().replace(HOSTILE, "")
        assert page.page.locator("script").count() == 0
        assert page.page.get_by_text(HOSTILE).count() > 5
        page.screenshot("report-hostile-375-light")


@pytest.mark.parametrize("size", SIZES)
def test_the_answer_comes_first_and_every_part_is_there(
    browser: Browser, pages: dict[int | str, str], size: int
) -> None:
    with open_page(browser, pages[size]) as page:
        answer = page.page.locator(".answer")
        assert answer.inner_text() == "94.15 %"
        assert (answer.bounding_box() or {"y": 900})["y"] < 200
        titles = page.page.locator("h2, h3").all_inner_texts()
        wanted = [
            "Confusion matrix", "ROC", "Calibration", "Robustness", "The most wrong images", "Score by order of ending",
            "Learning curves: val_accuracy", "Rungs", "Importance", "Parallel coordinates", "Workers and interruptions",
            "Provenance",
        ]  # fmt: skip
        assert [title for title in wanted if title not in titles] == []
        assert page.page.locator(".pictures img").count() == 24
        for link in page.page.locator("nav a").all():
            target = page.page.locator(link.get_attribute("href") or "")
            assert target.count() == 1


def edges(picture: bytes) -> tuple[float, float]:
    """Return how bright the left and the right edge of a picture are."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), float)
    return float(np.median(pixels[:, :2])), float(np.median(pixels[:, -2:]))


def test_a_wide_table_is_shaded_where_it_goes_on(browser: Browser, pages: dict[int | str, str]) -> None:
    with open_page(browser, pages[3000], 375) as page:
        table = page.page.locator("h3:text('The best trials') ~ div.scroll")
        page.page.locator("h3:text('The best trials') ~ div.scroll table").evaluate(
            "table => table.style.color = 'white'"
        )
        left, right = edges(table.screenshot())
        assert left - right > 20, "it goes on to the right"
        table.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        left, right = edges(table.screenshot())
        assert right - left > 20, "it goes on to the left"
        narrow = page.page.locator("h3:text('Hyperparameters') ~ div.scroll").first
        left, right = edges(narrow.screenshot())
        assert abs(left - right) < 3, "all of it is visible"


def test_it_says_when_trials_are_too_few_for_importances(browser: Browser, pages: dict[int | str, str]) -> None:
    with open_page(browser, pages[3]) as page:
        assert page.page.get_by_text("too few to say which of").count() == 1
    with open_page(browser, pages[3000]) as page:
        rows = page.page.locator("h3:text('Importance') ~ div tbody th").all_inner_texts()
        assert rows[:2] == ["optimizer", "learning_rate"]


def test_it_is_small_enough_to_be_sent_around(pages: dict[int | str, str]) -> None:
    assert Path(pages[3000].removeprefix("file://")).stat().st_size < LARGEST_BYTES


def test_a_study_without_early_stopping_failures_or_a_second_model_has_a_page(browser: Browser, tmp_path: Path) -> None:
    study = report_of(3)
    bare = dict.fromkeys(("bootstrap", "calibration", "objects", "runner_up", "robustness", "most_wrong", "roc_curves"))
    metrics = study.metrics.model_copy(update={**bare, "roc_auc": None, "with_flips": None, "test_evaluations": 2})
    old = replace(study, metrics=metrics, provenance=None, most_wrong=(), corrupted=())
    (tmp_path / "old.html").write_text(report_html(old), encoding="utf-8")
    with open_page(browser, (tmp_path / "old.html").as_uri()) as page:
        assert page.complaints == []
        text = page.page.locator("body").inner_text()
        assert "2 models of this study have been measured" in text
        assert "Robustness" not in text
        assert "None" not in text


def test_a_search_of_one_trial_and_one_that_goes_on_have_pages() -> None:
    study = report_of(3)
    records = search(3)
    ended = [i for i, record in enumerate(records) if record.kind == "ended"]
    one = records[: ended[0] + 1]
    page = report_html(replace(study, state=state_of(one), history=attempts_of(one)))
    assert "Score by order of ending" in page
    nothing = state_of(records[:1])
    assert "Importance" in report_html(replace(study, state=nothing, history=attempts_of(records[:1])))


def test_a_better_trial_since_the_evaluation_is_said() -> None:
    study = report_of(3)
    metrics = study.metrics.model_copy(update={"best_trial": TrialId("another")})
    assert "has since found a better trial" in report_html(replace(study, metrics=metrics))
