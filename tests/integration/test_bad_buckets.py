"""Damaged objects, full and forbidden disks, wrong buckets: each command says a sentence and leaves nothing behind."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import keras_tuner
import pytest

from tests.integration.in_process import do_here
from tests.integration.one_trial import night
from tests.integration.support import FASTEST_BACKEND, Done, Place, place, python_with, settings, space
from tests.support.chief import RunningChief, running_chief
from tests.support.disks import fill, read_only, small_disk, without_rights
from tests.support.gcs_emulator import Emulator, free_port
from tests.support.object_servers import S3Server, running_careless_s3
from tests.support.refuser import running_refuser
from tests.support.tree import digests
from tuner import names
from tuner.bucket import open_bucket
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.data.pack import pack
from tuner.local import children
from tuner.study.records import Outcome, TrialState

STUDY = (*space("Tiny"), *settings(search__max_trials=2, training__epochs=1))
SETTINGS = [argument for argument in STUDY if argument != "--set"]
READERS = ("status", "trials")
ALL = (*READERS, "evaluate", "chief", "worker", "run")
USAGE, ENVIRONMENT = 2, 3


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Place]:
    """A place whose bucket has a study that is over and evaluated."""
    with place(tmp_path_factory.mktemp("studied")) as new_place:
        with serving(new_place, load(settings=SETTINGS), pack(two_colours, new_place.bucket).digest) as chief:
            worked = do_here(new_place, "worker", **leading_to(chief))
            assert worked.code == 0, worked.err
            assert chief.ask(lambda state: state.finished)
        evaluated = do_here(new_place, "evaluate")
        assert evaluated.code == 0, evaluated.err
        yield new_place


@pytest.fixture
def copy(studied: Place, place: Place) -> Place:
    """A copy of that bucket, to be damaged; its cache is empty."""
    shutil.copytree(studied.bucket_folder, place.bucket_folder)
    return place


@pytest.fixture(scope="module")
def chief(studied: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads workers to a chief which is well, whatever their bucket is."""
    with place(tmp_path_factory.mktemp("well")) as new_place:
        shutil.copytree(studied.bucket_folder, new_place.bucket_folder)
        more = ["name=another", "retries.preemption=1000", "search.max_trials=1000", "retries.environment_s=1"]
        digest = only(new_place, "data/*/manifest.json").split("/")[1]
        with serving(new_place, load(settings=[*SETTINGS, *more]), digest) as running:
            yield leading_to(running)


@contextmanager
def serving(place: Place, study: Study, digest: str) -> Iterator[RunningChief]:
    """Run a chief in this process, with the hyperparameter of `Tiny`."""
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Choice("units", [2, 4, 8, 16])
    with running_chief(place.bucket, study, hyperparameters, digest) as chief:
        yield chief


def leading_to(chief: RunningChief) -> dict[str, str]:
    """Return the environment of a worker of this chief."""
    return {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(chief.port), names.ENV_TUNER_ID: "w"}


def do(
    place: Place,
    command: str,
    chief: dict[str, str],
    two_colours: str,
    start: Callable[..., Done] = do_here,
    **more: str,
) -> Done:
    unfinished = (*STUDY, *settings(search__max_trials=4))  # a chief whose search is over reads no data
    arguments = {"run": (*STUDY, "--data", two_colours, "--workers", "1"), "chief": unfinished}.get(command, ())
    address = dict(chief)
    if command == "chief":
        address |= {names.ENV_ORACLE_PORT: str(free_port())}
    return start(place, command, *arguments, **(address | more))


@contextmanager
def children_on_the_fastest_backend() -> Iterator[None]:
    """Let a `run` in this process start its children with less of a start, and its chief twice, not five times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python_with(FASTEST_BACKEND)))
        patch.setattr(children, "DEATHS", 2)  # tests/local/test_children.py counts to five
        yield


def refused(done: Done, code: int, *texts: str) -> None:
    """It ended with the code and one sentence, in which all the texts stand."""
    transcript = f"{done.code}\n{done.out}\n{done.err}"
    assert "Traceback" not in done.out + done.err, transcript
    error = done.err.splitlines()[-1] if done.err else ""
    assert error.startswith("error: "), transcript
    assert "internal error" not in error, transcript
    assert all(text in error for text in texts), transcript
    assert done.code == code, transcript


# ---- the journal --------------------------------------------------------------------------------
SEGMENT = names.journal_segment("cifake", 2)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbage(_: bytes) -> bytes:
    return b"\xff\x00garbage"


def foreign(data: bytes) -> bytes:
    return data.replace(b'"format":"1.4"', b'"format":"99.0"', 1)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "garbage": (garbage, "no valid header"),
    "empty": (lambda data: b"", "no valid header"),
    "truncated": (truncated, "damaged"),
    "of another version": (foreign, "has format 99.0, and this program reads 2.0"),
}


def damage(place: Place, name: str, how: Callable[[bytes], bytes]) -> dict[str, str]:
    """Damage an object; return the bucket's tree as it is then."""
    path = place.bucket_folder / name
    path.write_bytes(how(path.read_bytes()))
    return digests(place.bucket_folder)


@pytest.mark.parametrize("damage_", DAMAGES)
def test_a_damaged_segment_of_the_journal_is_named(
    copy: Place, damage_: str, chief: dict[str, str], two_colours: str
) -> None:
    how, text = DAMAGES[damage_]
    contents = damage(copy, SEGMENT, how)
    for command in ALL if damage_ == "garbage" else READERS:
        if command != "worker":  # workers do not read it
            refused(do(copy, command, chief, two_colours), ENVIRONMENT, SEGMENT, text)
            assert digests(copy.bucket_folder) == contents, command


def test_a_missing_segment_ends_the_chief_before_it_writes_in_its_place(
    copy: Place, chief: dict[str, str], two_colours: str
) -> None:
    (copy.bucket_folder / SEGMENT).unlink()
    contents = digests(copy.bucket_folder)
    refused(do(copy, "chief", chief, two_colours), ENVIRONMENT, SEGMENT, "is missing")
    assert digests(copy.bucket_folder) == contents


# ---- the data -----------------------------------------------------------------------------------
def only(place: Place, pattern: str) -> str:
    """Return the name of the bucket's only object like this."""
    paths = [str(path.relative_to(place.bucket_folder)) for path in place.bucket_folder.glob(pattern)]
    assert len(paths) == 1, paths
    return paths[0]


@pytest.mark.parametrize(
    ("command", "how"), [("evaluate", truncated), ("chief", truncated), ("worker", truncated), ("worker", garbage)]
)
def test_a_damaged_manifest_is_named(
    copy: Place, command: str, how: Callable[[bytes], bytes], chief: dict[str, str], two_colours: str
) -> None:
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    manifest = only(copy, "data/*/manifest.json")
    contents = damage(copy, manifest, how)
    refused(do(copy, command, chief, two_colours), USAGE, manifest, "damaged")
    assert digests(copy.bucket_folder) == contents


@pytest.mark.parametrize(("command", "split"), [("evaluate", "test"), ("worker", "train")])
def test_a_truncated_shard_is_named(
    copy: Place, command: str, split: str, chief: dict[str, str], two_colours: str
) -> None:
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    shard = only(copy, f"data/*/{split}-*.npy")
    contents = damage(copy, shard, truncated)
    refused(do(copy, command, chief, two_colours), USAGE, shard, "damaged")
    assert digests(copy.bucket_folder) == contents


def test_data_that_is_damaged_is_packed_again_by_a_run_that_has_the_source(
    copy: Place, chief: dict[str, str], two_colours: str
) -> None:
    manifest = only(copy, "data/*/manifest.json")
    good = (copy.bucket_folder / manifest).read_bytes()
    damage(copy, manifest, truncated)
    done = do(copy, "run", chief, two_colours)
    assert done.code == 0, done.err
    assert (copy.bucket_folder / manifest).read_bytes() == good
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    evaluated = do(copy, "evaluate", chief, two_colours)  # which reads these data
    assert evaluated.code == 0, evaluated.err


# ---- the best model -----------------------------------------------------------------------------
@pytest.mark.parametrize("how", [garbage, truncated])
def test_a_damaged_model_is_named_by_the_evaluator(
    copy: Place, how: Callable[[bytes], bytes], chief: dict[str, str], two_colours: str
) -> None:
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    best = copy.state().best()[0].checkpoint
    assert best is not None
    contents = damage(copy, best, how)
    refused(do(copy, "evaluate", chief, two_colours), ENVIRONMENT, best, "damaged")
    assert digests(copy.bucket_folder) == contents


def test_a_missing_model_is_named_by_the_evaluator(copy: Place, chief: dict[str, str], two_colours: str) -> None:
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    best = copy.state().best()[0].checkpoint
    assert best is not None
    copy.bucket.delete(best)
    contents = digests(copy.bucket_folder)
    refused(do(copy, "evaluate", chief, two_colours), ENVIRONMENT, best)
    assert digests(copy.bucket_folder) == contents


def test_a_damaged_evaluation_is_made_again(copy: Place, chief: dict[str, str], two_colours: str) -> None:
    metrics = names.evaluation("cifake", names.METRICS_JSON)
    damage(copy, metrics, truncated)
    assert do(copy, "evaluate", chief, two_colours).code == 0
    assert b'"accuracy"' in copy.bucket.read(metrics)


# ---- disks --------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["evaluate", "chief", "run", "worker"])
def test_a_full_disk_is_told_and_nothing_half_written_is_left(
    studied: Place, place: Place, command: str, chief: dict[str, str], two_colours: str
) -> None:
    with small_disk(place.bucket_folder, 16_384) as bucket:
        shutil.copytree(studied.bucket_folder, bucket, dirs_exist_ok=True)
        if command == "evaluate":
            place.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
        fill(bucket)
        contents = digests(bucket)
        more = settings(search__max_trials=4) if command in ("chief", "run") else []
        arguments = {"run": ("--data", two_colours, "--workers", "1", *STUDY), "chief": STUDY}.get(command, ())
        address = chief | ({names.ENV_ORACLE_PORT: str(free_port())} if more else {})
        with children_on_the_fastest_backend():
            done = do_here(place, command, *arguments, *more, **address)
        # a worker finds out before it trains an epoch that it could not save
        refused(done, ENVIRONMENT, "0.0 MiB are free" if command == "worker" else "no space is left")
        assert digests(bucket) == contents


def test_a_worker_whose_own_disk_stays_full_hands_its_trial_back_at_no_cost(place: Place, two_colours: str) -> None:
    impatient = "GatedLine", "retries.environment_s=1"
    with (
        small_disk(place.folder / "tmp", 4096) as disk,
        night(place, place.bucket, two_colours, *impatient) as new_night,
    ):
        worker = new_night.work_until_full(disk)
        refused(worker.wait(), ENVIRONMENT, "the model cannot be saved", "No space left")
        # no lease runs out here: this chief looks for none
        assert new_night.endings() == [Outcome.ENVIRONMENT]
        assert do_here(place, "worker", **leading_to(new_night.chief)).code == 0
        trial = new_night.trial()
    assert trial is not None
    assert (trial.state, trial.attempts, dict(trial.outcomes)) == (TrialState.COMPLETED, 2, {Outcome.ENVIRONMENT: 1})
    assert trial.counted_attempts == 1


@pytest.mark.parametrize("command", ALL)
def test_a_read_only_bucket_is_told_by_those_who_write(
    copy: Place, command: str, chief: dict[str, str], two_colours: str
) -> None:
    copy.bucket.delete(names.evaluation("cifake", names.METRICS_JSON))
    contents = digests(copy.bucket_folder)
    with read_only(copy.bucket_folder), children_on_the_fastest_backend():
        done = do(copy, command, chief, two_colours)
    if command in READERS:
        assert done.code == 0, done.err
    else:
        refused(done, ENVIRONMENT, "read-only")
    assert digests(copy.bucket_folder) == contents


@pytest.mark.parametrize("command", ALL)
def test_a_folder_without_rights_is_told(copy: Place, command: str, chief: dict[str, str], two_colours: str) -> None:
    contents = digests(copy.bucket_folder)
    with without_rights(copy.bucket_folder) as under:
        start = partial(Place.do, under=under)
        refused(do(copy, command, chief, two_colours, start), ENVIRONMENT, "no permission", str(copy.bucket_folder))
    assert digests(copy.bucket_folder) == contents


# ---- Google Cloud Storage -----------------------------------------------------------------------
@pytest.mark.parametrize("command", ALL)
def test_a_wrong_bucket_name_is_told(
    place: Place, command: str, chief: dict[str, str], two_colours: str, emulator: Emulator
) -> None:
    gcs = {"STORAGE_EMULATOR_HOST": emulator.url, names.ENV_BUCKET: "gs://no-such-bucket/prefix"}
    refused(do(place, command, chief, two_colours, do_here, **gcs), ENVIRONMENT, "there is no bucket no-such-bucket")


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [*((command, 403, "roles/storage.objectUser") for command in ALL), ("status", 401, "credentials")],
)
def test_missing_rights_at_a_bucket_are_told(
    place: Place, command: str, chief: dict[str, str], two_colours: str, status: int, text: str
) -> None:
    with running_refuser(status) as refuser:
        gcs = {"STORAGE_EMULATOR_HOST": refuser.url, names.ENV_BUCKET: "gs://forbidden/prefix"}
        refused(do(place, command, chief, two_colours, do_here, **gcs), ENVIRONMENT, "gs://forbidden/prefix", text)


# ---- S3 -----------------------------------------------------------------------------------------
def test_a_chief_refuses_a_store_without_conditional_writes(
    place: Place, chief: dict[str, str], two_colours: str, s3_server: S3Server
) -> None:
    url = f"s3://{s3_server.new_bucket()}"
    with running_careless_s3(s3_server) as address, pytest.MonkeyPatch.context() as patch:
        variables = {**s3_server.environment(address), names.ENV_BUCKET: url}
        for variable, value in variables.items():
            patch.setenv(variable, value)
        bucket = open_bucket(url)
        digest = pack(two_colours, bucket).digest
        written = list(bucket.list())
        done = do(place, "chief", chief, two_colours, do_here, **variables, **{names.ENV_DATA: digest})
        refused(done, USAGE, url, "no conditional writes")
        assert list(bucket.list()) == written
