"""What the chief answers to the page: bounded, valid, read-only, and for this machine's browsers alone."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.live_page import studies
from tests.live_page.conftest import BUCKET, Served, serving
from tests.search.test_oracle import at
from tuner.config.loading import load
from tuner.live_page import live_state
from tuner.live_page.overview import Overview, study_view
from tuner.live_page.routes import SCRIPTS, is_local_name
from tuner.names import OWN_DATA, TrialId
from tuner.search.claims import Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.progress import Eta
from tuner.study.records import TrialState
from tuner.study.snapshots import frozen_copy
from tuner.study.state import StudyState
from tuner.study.views import view_study

BOUND_BYTES = 100_000
"""Of any answer."""
BLOCKED_S = 0.02
"""So long the event loop may stand still for a study of 3,000 trials."""


@pytest.fixture
def three(small: StudyState) -> Iterator[Served]:
    with serving(studies.watched(small)) as served:
        yield served


@pytest.fixture
def thousands(large: StudyState) -> Iterator[Served]:
    with serving(studies.watched(large)) as served:
        yield served


def ask(served: Served, path: str, **query: object) -> Any:
    """Return an answer as strict JSON, of a bounded size."""
    with urlopen(f"{served.url}{path}?{urlencode(query)}") as answer:
        body = answer.read()
    assert len(body) < BOUND_BYTES

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(body, parse_constant=refuse)


def refused(served: Served, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    request = Request(f"{served.url}{path}", method=method, headers={"Host": host} if host else {})
    with pytest.raises(HTTPError) as caught, urlopen(request):
        pass
    with caught.value as answer:
        return answer.code, answer.read().decode()


# ---- content ----------------------------------------------------------------------------------
@pytest.mark.parametrize("trials", [3, 3000])
def test_the_overview_says_what_status_says(trials: int, small: StudyState, large: StudyState) -> None:
    state = small if trials == 3 else large
    with serving(studies.watched(state)) as served:
        live, status = ask(served, "overview.json"), view_study(state)
    counts = {
        "QUEUED": status.queued,
        "PAUSED": status.paused,
        "RUNNING": status.running,
        "COMPLETED": status.completed,
    }
    assert live["counts"] == counts | {"STOPPED": status.stopped, "FAILED": status.failed}
    assert (live["study"], live["max_trials"], live["search"]) == (status.study, status.max_trials, "running")
    assert (live["best"]["trial"], live["best"]["score"]) == (status.best_trial, pytest.approx(status.best_score, 1e-5))
    assert (live["epochs_trained"], live["epochs_saved"]) == (status.epochs_trained, status.epochs_saved)
    assert live["evaluation_at"] == f"{BUCKET}/studies/{status.study}/evaluation/"
    assert live["steps"][-1]["trial"] == status.best_trial


def test_a_fault_that_ended_the_search_is_told_and_samples_are_no_images(small: StudyState) -> None:
    fault = "trial 00000 raised FatalError, which ends the search: the model has no loss"
    with serving(studies.watched(studies.faulty())) as served:
        answer = ask(served, "overview.json")
    assert (answer["fault"], answer["reason"], answer["unit"]) == (fault, fault, "images")
    view = study_view(Overview.model_validate(answer))
    assert (view.state, view.reason) == ("fault", fault)
    own = studies.open_study(1)
    own.study = load(settings=["space.import=a:B", "data.own=true"])
    with serving(studies.watched(own)) as served:
        answer = ask(served, "overview.json")
    assert (answer["fault"], answer["unit"]) == ("", "samples")
    view = study_view(Overview.model_validate(answer))
    assert (view.state, view.data) == ("unfinished", OWN_DATA)


def test_the_best_so_far_only_rises(thousands: Served) -> None:
    steps = ask(thousands, "overview.json")["steps"]
    assert len(steps) > 3
    assert all(one["score"] < two["score"] and one["ended"] < two["ended"] for one, two in pairwise(steps))


def test_a_worker_is_shown_with_its_trial_epoch_speed_and_silence(three: Served, small: StudyState) -> None:
    [running] = [trial for trial in small.trials.values() if trial.state is TrialState.RUNNING]
    silent, idle = ask(three, "overview.json")["workers"]
    assert (silent["name"], silent["trial"], silent["state"]) == (running.worker, running.trial_id, "silent")
    assert (silent["epoch"], silent["epochs"]) == (len(running.epochs) + 1, studies.EPOCHS)
    assert (silent["images_per_s"], silent["silent_s"], silent["heard"]) == (2053.4, 95.0, True)
    assert (silent["device"], idle["device"]) == ("GPU 0", "")
    assert (idle["trial"], idle["state"]) == (None, "idle")


def test_a_trial_that_trains_more_epochs_than_are_known_is_shown_without_their_number() -> None:
    state = studies.open_study(1)
    oracle, trial = Oracle(state, Instant(studies.START, 0)), TrialId("new")
    oracle.add(Suggestion(trial, {}, {}), at(0))
    attempt = studies.take(oracle, Worker("x", "1"), 1)
    planned = {}
    for epoch in range(studies.EPOCHS + 1):
        oracle.report(attempt, epoch, {"val_accuracy": 0.5}, "a.keras", at(2))
        with serving(studies.watched(state)) as served:
            worker = ask(served, "overview.json")["workers"][0]
            [row] = ask(served, "trials.json")["rows"]
        planned[row["epochs"]], planned[worker["epoch"]] = row["epochs_planned"], worker["epochs"]
    assert planned == dict.fromkeys(range(1, studies.EPOCHS + 1), studies.EPOCHS) | dict.fromkeys(
        range(studies.EPOCHS + 1, studies.EPOCHS + 3)
    )


@pytest.mark.parametrize(("worse", "then"), [(0.0, TrialState.RUNNING), (1e-9, TrialState.STOPPED)])
@pytest.mark.parametrize(("rung", "epochs"), [(0, 1), (1, 3)])
def test_who_comes_to_a_rung_with_its_cut_goes_on_and_who_is_worse_is_stopped(
    rung: int, epochs: int, worse: float, then: TrialState
) -> None:
    state = studies.searched(100, 40)
    with serving(studies.watched(state)) as served:
        cut = ask(served, "overview.json")["rungs"][rung]["cut"]
    values = [trial.rungs[rung] for trial in state.trials.values() if rung in trial.rungs]
    exact = min(values, key=lambda value: abs(value - cut))  # the page has six digits of it
    oracle, worker, trial = Oracle(state, Instant(studies.START, 0)), Worker("x", "1"), TrialId("new")
    oracle.add(Suggestion(trial, {}, {}), at(0))
    attempt = studies.take(oracle, worker, 1)
    for epoch in range(epochs):
        oracle.report(attempt, epoch, {"val_accuracy": exact - worse}, "a.keras", at(2))
    assert state.trials[trial].state is then


def test_all_pages_together_have_every_trial_once(thousands: Served, large: StudyState) -> None:
    trials: Counter[str] = Counter()
    for offset in range(0, len(large.trials), 200):
        trials.update(row["trial"] for row in ask(thousands, "trials.json", offset=offset, limit=200)["rows"])
    assert trials == Counter(list(large.trials))


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("sort", ["score", "epochs", "rung", "seconds", "trial", "hp:learning_rate", "hp:optimizer"])
def test_trials_are_sorted_by_what_is_asked_for_and_who_has_none_comes_last(
    thousands: Served, sort: str, down: bool
) -> None:
    first = ask(thousands, "trials.json", sort=sort, down=down)
    last = ask(thousands, "trials.json", sort=sort, down=down, offset=10**6)
    assert last["offset"] == 2950
    rows = first["rows"] + last["rows"]
    values = [row["hyperparameters"][sort[3:]] if sort.startswith("hp:") else row[sort] for row in rows]
    has = [value for value in values if value is not None]
    assert has == sorted(has, reverse=down)
    assert values[: len(has)] == has


def test_trials_are_filtered_by_state(thousands: Served, large: StudyState) -> None:
    failed = [trial.trial_id for trial in large.trials.values() if trial.state is TrialState.FAILED]
    page = ask(thousands, "trials.json", state="FAILED")
    assert {row["trial"] for row in page["rows"]} == set(failed)
    assert page["matching"] == len(failed) > 0
    assert {row["reason"] for row in page["rows"]} == {"ValueError: broken"}


def test_at_first_trials_stand_in_the_order_of_the_command_line(thousands: Served, large: StudyState) -> None:
    rows = ask(thousands, "trials.json", limit=200)["rows"]
    running = sum(trial.state is TrialState.RUNNING for trial in large.trials.values())
    assert {row["state"] for row in rows[:running]} == {"RUNNING"}
    assert [row["trial"] for row in rows[running:]] == [trial.trial_id for trial in large.best(200 - running)]
    assert [row["trial"] for row in rows if row["best"]] == [large.best()[0].trial_id]


def test_a_single_trial_is_shown_with_all_its_metrics_and_its_traceback(thousands: Served, large: StudyState) -> None:
    failed = next(trial for trial in large.trials.values() if trial.state is TrialState.FAILED)
    details = ask(thousands, "trial.json", trial=failed.trial_id)
    assert details["reason"] == studies.TRACEBACK
    assert details["outcomes"] == {"failed": 1}
    assert list(details["curves"]) == ["val_accuracy", "accuracy", "loss", "val_loss"]
    values = [failed.epochs[epoch]["loss"] for epoch in sorted(failed.epochs)]
    assert [value for _, value in details["curves"]["loss"]] == pytest.approx(values, rel=1e-5)
    assert [epoch for epoch, _ in details["curves"]["loss"]] == list(range(1, len(values) + 1))


def test_what_is_no_number_is_none_or_text_and_every_answer_is_json() -> None:
    state = studies.hostile()
    with serving(studies.watched(state)) as served:
        ask(served, "overview.json")
        rows = ask(served, "trials.json", sort="hp:nan")["rows"]
        assert rows[0]["hyperparameters"]["nan"] == "nan"
        assert rows[0]["hyperparameters"]["big"] == str(10**30)
        one = ask(served, "trial.json", trial="00000")
        assert one["curves"]["val_accuracy"][:5] == [[1, 0.5], [2, None], [3, 1.7e308], [4, None], [5, -1.7e308]]


def test_a_study_that_is_read_is_no_study_yet() -> None:
    with serving(lambda: None) as served:
        assert refused(served, "overview.json") == (503, "the chief is starting and reading the study\n")


# ---- what it costs ---------------------------------------------------------------------------------
def test_taking_a_moment_of_3000_trials_holds_the_event_loop_for_a_few_milliseconds(large: StudyState) -> None:
    def seconds() -> float:
        began = time.thread_time()
        frozen_copy(large)
        Eta(0.0, 0.0).remaining_s(large, [])
        return time.thread_time() - began

    assert min(seconds() for _ in range(20)) < BLOCKED_S


def test_many_pages_that_ask_at_once_are_answered_from_one_moment(
    small: StudyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_state, "FRESH_S", 60.0)
    taken = 0
    take = studies.watched(small)

    def counted() -> live_state.LiveState:
        nonlocal taken
        taken += 1
        return take()

    with serving(counted) as served:
        for _ in range(10):
            ask(served, "overview.json")
            ask(served, "trials.json")
    assert taken == 1


def test_a_chief_ends_when_the_open_page_knows_that_the_search_is_over() -> None:
    state = studies.searched(30, 30, workers=1)
    take = studies.watched(state)
    with serving(take) as served:
        latest = served.site.latest

        def bye_s() -> float:
            began = time.monotonic()
            asyncio.run(latest.drain())
            return time.monotonic() - began

        assert bye_s() < live_state.SETTLE_S  # no page is open
        ask(served, "overview.json")
        studies.finish(state)
        with ThreadPoolExecutor() as pool:
            bye = pool.submit(bye_s)
            time.sleep(1.2 * live_state.FRESH_S)
            assert not bye.done()
            ask(served, "overview.json")
            assert bye.result() < live_state.DRAIN_S


def test_who_has_the_newest_answer_is_told_so_and_sent_nothing(thousands: Served) -> None:
    with urlopen(f"{thousands.url}trials.json") as first:
        version = first.headers["ETag"]
    request = Request(f"{thousands.url}trials.json", headers={"If-None-Match": version})
    with pytest.raises(HTTPError) as caught, urlopen(request):
        pass
    with caught.value as answer:
        assert (answer.code, answer.read(), answer.headers["ETag"]) == (304, b"", version)


# ---- what it refuses -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query", ["state=LOST", "sort=colour", "offset=-1", "offset=x", "limit=100000", "limit=0", "down=perhaps", "what=1"]
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(three: Served, query: str) -> None:
    code, message = refused(three, f"trials.json?{query}")
    assert code == 400
    assert message.startswith(f"{query.partition('=')[0]}")
    assert message.count("\n") == 1


def test_an_unknown_trial_is_not_found(three: Served) -> None:
    assert refused(three, "trial.json?trial=%3Cb%3E")[0] == 404
    assert refused(three, "page.html")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(three: Served, method: str) -> None:
    assert refused(three, "overview.json", method)[0] == 501


@pytest.mark.parametrize("path", ["", "page.js", "overview.json", "trials.json"])
def test_a_name_that_anyone_may_own_is_refused(three: Served, path: str) -> None:
    code, message = refused(three, path, host="cifake.example.com")
    assert code == 421
    assert "localhost" in message


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True), ("LOCALHOST:8080", True), ("127.0.0.1:8080", True), ("10.1.2.3", True), ("[::1]:80", True),
        ("release-chief:9090", True), ("release-chief.ns.svc:9090", True), ("chief.ns.svc.cluster.local", True),
        ("", False), (":80", False), ("evil.example", False), ("127.0.0.1.evil.example", False),
        ("chief.ns.svc.evil.example:80", False), ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_names_that_only_this_machine_or_a_cluster_resolves_are_ours(host: str, ours: bool) -> None:
    assert is_local_name(host) is ours


# ---- security ------------------------------------------------------------------------
def test_a_browser_runs_our_scripts_alone_and_asks_nobody_else(three: Served) -> None:
    with urlopen(three.url) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = answer.read().decode()
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)


def test_no_file_of_the_page_names_another_server_or_makes_markup_of_text() -> None:
    static = resources.files("tuner.live_page").joinpath("static")
    text = {file.name: file.read_text() for file in static.iterdir()}
    assert {f"{name}.js" for name in SCRIPTS} | {"page.html", "page.css", "favicon.svg"} == set(text)
    addresses = {address for content in text.values() for address in re.findall(r"\w+://[^\s\"'`]+", content)}
    assert addresses == {"http://www.w3.org/2000/svg"}
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function"):
        assert not [name for name, content in text.items() if forbidden in content], forbidden


def test_a_chief_that_ends_for_a_lost_journal_says_so_on_its_page_before_it_ends(three: Served) -> None:
    sentence = "gs://bucket: the journal segment studies/a/journal/0000000004.jsonl is missing. Restore it."
    three.site.latest.get()
    three.site.problem = sentence
    for path in ("overview.json", "trials.json", "trial.json?trial=00000"):
        with pytest.raises(HTTPError) as error:
            urlopen(f"{three.url}{path}", timeout=20)
        assert error.value.code == 503
        assert error.value.read().decode().strip() == sentence.removesuffix("."), "the page adds the full stop"
    began = time.monotonic()
    asyncio.run(three.site.latest.drain())
    assert time.monotonic() - began < live_state.DRAIN_S, "an open page has read it"
