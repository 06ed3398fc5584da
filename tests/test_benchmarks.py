"""The benchmarks' arithmetic, and that the page shows what they measured and nothing else."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench import summary
from bench.scaling.catalogue import fitted
from bench.scaling.cluster import GCS_WRITES_PER_S, demands
from bench.scaling.fit import Point, cost_per_unit, knee, slope
from bench.scaling.images import with_comment
from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.modules import module_at
from tuner.data.decode import Conversion, decode

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SIZES = (100, 300, 1000, 3000, 10_000)
GROWTH: dict[str, Any] = {
    "workers": {
        "rows": [
            {
                "size": size,
                "cpu_ms_per_trial": 2.0,
                "create_ms_p50": 100.0 * max(1, size / 100),
                "report_ms_p50": 100.0,
                "wait_ms_per_trial": 300.0,
                "rss_mib": 500 + size / 10,
                "segments_per_s": 15.0,
            }
            for size in (10, 100, 1000)
        ],
        "cpu_ms_per_report": 0.5,
        "beats": {"cpu_ms_per_beat": 0.25},
    },
    "operations": {"per_trial": 2.0, "per_epoch": 2.0},
}


def curve(cost: Any) -> list[Point]:
    return [Point(size, cost(size)) for size in SIZES]


def benchmarks_page() -> Any:
    return module_at(ROOT / "tools" / "benchmarks_page.py")


@pytest.mark.parametrize(
    ("cost", "power"),
    [(lambda n: 3.0, 0.0), (lambda n: 3.0 * n, 1.0), (lambda n: 3.0 * n**0.5, 0.5), (lambda n: 3 / n, -1)],
)
def test_the_slope_is_the_power_that_a_cost_goes_with(cost: Any, power: float) -> None:
    assert slope(curve(cost)) == pytest.approx(power)


def test_a_cost_that_stays_has_no_knee_however_it_wavers() -> None:
    wavering = [Point(size, 2.0 + 0.3 * (number % 2)) for number, size in enumerate(SIZES)]
    assert knee(wavering) is None
    assert knee(curve(lambda n: 1 + 500 / n)) is None


def test_the_knee_is_where_a_cost_begins_to_grow_for_good() -> None:
    assert knee(curve(lambda n: 1.0 if n <= 1000 else n / 1000)) == 1000
    assert knee(curve(float)) == SIZES[0]
    assert knee([Point(1, 1), Point(10, 9), Point(100, 9), Point(1000, 9)]) is None, "a step is no knee"


def test_what_one_more_costs_is_the_slope_of_a_line() -> None:
    assert cost_per_unit(curve(lambda n: 500 + 0.0026 * n)) == pytest.approx(0.0026)


def test_a_curve_is_fitted_for_so_many_of_its_size() -> None:
    others = ("pack_mib", "first_batch_s", "next_first_batch_s", "batch_ms", "memory_mib")
    rows = [{"size": size, "pack_s": size / 5000, **dict.fromkeys(others, 1.0)} for size in SIZES]
    slopes = {fit["key"]: fit["slope"] for fit in fitted({"images": {"rows": rows}})}
    assert slopes["pack_s"] == pytest.approx(0.0), "twice the images, twice the time: each costs the same"
    assert slopes["batch_ms"] == pytest.approx(0.0)
    assert slopes["first_batch_s"] == pytest.approx(-1.0), "the same time for more images"


def test_a_cluster_asks_for_as_much_as_its_trials_and_heartbeats_cost() -> None:
    one, ten = (demands(GROWTH, epochs, workers=10_000, trial_s=60.0) for epochs in (1, 10))
    assert one.beats_per_s == 1000, "three a lease of 30 s"
    assert one.chief_cores == pytest.approx(10_000 / 60 * 0.002 + 1000 * 0.00025)
    assert ten.chief_cores == pytest.approx(10_000 / 60 * (0.002 + 9 * 0.0005) + 1000 * 0.00025)
    assert one.chief_mib == pytest.approx(500 + 10_000 / 10)


def test_trials_that_are_long_enough_are_just_what_chief_and_bucket_can_do() -> None:
    demand = demands(GROWTH, 10, workers=10_000, trial_s=60.0)
    assert demand.chief_trial_s is not None
    assert demands(GROWTH, 10, workers=10_000, trial_s=demand.chief_trial_s).chief_cores == pytest.approx(1.0)
    writes = demands(GROWTH, 10, workers=10_000, trial_s=demand.bucket_trial_s).writes_per_s
    assert writes == pytest.approx(GCS_WRITES_PER_S)


def test_no_trial_is_long_enough_where_heartbeats_alone_take_more_than_a_core() -> None:
    slow = {**GROWTH, "workers": {**GROWTH["workers"], "beats": {"cpu_ms_per_beat": 2.0}}}
    assert demands(slow, 1).chief_trial_s is None


def test_a_comment_makes_a_file_of_its_own_of_the_same_picture() -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((32, 32)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    one, other = with_comment(jpeg, 1), with_comment(jpeg, 2)
    assert one != other
    pixels = [decode(data, Conversion()) for data in (jpeg, one, other)]
    assert (pixels[0] == pixels[1]).all()
    assert (pixels[0] == pixels[2]).all()


@pytest.mark.slow
def test_a_study_is_measured_with_a_chief_that_works_and_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.scaling import trials  # with Keras

    monkeypatch.setattr(sys, "executable", str(python_with(FASTEST_BACKEND)))  # of its processes
    for name, value in ({"KERAS_BACKEND": FASTEST_BACKEND} | JAX_ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    row = trials.ours(tmp_path, 20)
    assert row.size == 20
    assert row.trials_per_s > 0
    assert row.restart_s is not None
    assert row.restart_s > 0


@pytest.mark.slow
def test_what_a_worker_adds_to_a_trial_is_measured(tmp_path: Path) -> None:
    python = str(python_with(FASTEST_BACKEND))
    command = [python, "bench/overhead.py", "--trials", "3", "--json", str(tmp_path / "overhead.json")]
    environment = os.environ | {"KERAS_BACKEND": FASTEST_BACKEND} | JAX_ENVIRONMENT
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "overhead.json").read_text())
    assert result["trials"] == 3
    assert result["parts_ms"]["save_model"] > 0, "one of the parts that a rename would lose"


def test_the_page_is_what_the_results_make() -> None:
    assert (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == benchmarks_page().page(), "run `make docs`"


def test_the_page_follows_a_result_that_changes(tmp_path: Path) -> None:
    for file in RESULTS.glob("*.json"):
        shutil.copy(file, tmp_path)
    result = json.loads((tmp_path / "search.json").read_text())
    result["bare"]["ours"]["trials_per_s"] = 987_654.0
    (tmp_path / "search.json").write_text(json.dumps(result))
    page = benchmarks_page().page(tmp_path)
    assert "987,654" in page
    assert "987,654" not in benchmarks_page().page()


def test_the_page_says_what_grows_and_what_a_cluster_asks_for(tmp_path: Path) -> None:
    for file in RESULTS.glob("*.json"):
        shutil.copy(file, tmp_path)
    growth = {**GROWTH, "fits": fitted(GROWTH), "cluster": [asdict(demands(GROWTH, epochs)) for epochs in (1, 10)]}
    (tmp_path / "growth.json").write_text(json.dumps(growth))
    page = benchmarks_page().page(tmp_path)
    assert "| workers | 10 | 100 | 1,000 | slope | knee |" in page
    assert "| create, ms, median | 100 | 100 | 1,000 | +0.50 | 100 |" in page
    assert "| chief's processor time, ms per trial | 2 | 2 | 2 | +0.00 | none |" in page
    assert "| 60 s, 10 epochs | 167 | 1,000 | 1.33 |" in page
    assert "trials of the study" not in page, "what was not measured is left out"


@pytest.mark.parametrize("file", sorted((ROOT / "bench").glob("*.py")), ids=lambda file: file.stem)
def test_every_benchmark_finds_what_it_imports(file: Path) -> None:
    module_at(file)


def test_better_is_above_one_whichever_way_a_figure_goes() -> None:
    assert summary.more("", "trials/s", 400, 100, "").ratio == 4
    assert summary.less("", "s", 1, 4, "").ratio == 4


def test_who_never_reached_a_target_is_not_said_to_have_been_sooner() -> None:
    target = module_at(ROOT / "bench" / "target.py")

    def row(bare: float | None, ours: float | None) -> dict[str, Any]:
        return {side: {"reached_s": [at]} for side, at in (("bare", bare), ("ours", ours))}

    assert target.median_ratio([row(60, 20), row(80, 20), row(20, 20)], 0, 100) == 3
    assert target.median_ratio([row(None, 20)], 0, 100) == 5, "bare took longer than the limit"
    assert target.median_ratio([row(60, None)], 0, 100) == 0
    assert target.median_ratio([row(None, None), row(60, 20)], 0, 100) == 2, "neither arrived: 1"


def test_a_killed_worker_s_side_that_does_not_end_counts_as_the_limit() -> None:
    killed = module_at(ROOT / "bench" / "killed.py")
    outcomes = [(1, "ours", 50.0), (2, "ours", 70.0), (1, "bare", None), (2, "bare", None)]
    rows = [
        {"seed": seed, "worker": "gone", "side": side, "ended_s": at, "completed": 4, "epochs_lost": 0}
        for seed, side, at in outcomes
    ]
    cases = killed.cases(rows, 150)
    assert cases["gone"]["ours"] == {"ended_s": 60, "ended": 2, "completed": 4, "epochs_lost": 0}
    assert (cases["gone"]["bare"]["ended_s"], cases["gone"]["bare"]["ended"]) == (150, 0)


def test_a_gpu_s_precisions_are_compared_within_one_run_and_alike_where_they_were_measured_alike() -> None:
    def row(run: int, precision: str, images_per_s: int, shift: int = 0) -> dict[str, Any]:
        trial = {"width": 64, "blocks": 2, "batch": 500, "cutout": 0, "average": 0.0, "at_once": 1, "shift": shift}
        return {"run": run, "precision": precision, "images_per_s_in_all": images_per_s, **trial}

    short, long = "mixed_bfloat16", "float32"
    assert list(summary.gpu({"rows": [row(1, short, 50), row(2, long, 20)]})) == []
    (other,) = summary.gpu({"rows": [row(1, short, 50), row(2, short, 40, shift=2), row(2, long, 20)]})
    assert (other.ratio, other.what) == (2, "images/s, width 64, mixed_bfloat16, with augmentation")
    (comparable,) = summary.gpu({"rows": [row(1, short, 40, shift=2), row(1, short, 50), row(1, long, 20)]})
    assert (comparable.ratio, comparable.what) == (2.5, "images/s, width 64, mixed_bfloat16")


def test_every_benchmark_that_compares_has_its_rows_in_the_table() -> None:
    compared = {row.benchmark for row in summary.rows(RESULTS)}
    assert compared == {path.stem for path in RESULTS.glob("*.json")} & set(summary.SOURCES)


def test_what_the_page_on_kubernetes_says_of_its_benchmark_was_measured() -> None:
    result = json.loads((RESULTS / "kubernetes.json").read_text())
    page = " ".join((ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8").split())
    match = re.search(
        r"begins (\d+) s after .{1,80} ([\d.]+) times as long as .{1,60} \(([\d.]+) s\)\. .{1,40} (\d+) rounds", page
    )
    assert match is not None
    measured = (
        f"{result['release_first_step_s']:.0f}",
        f"{result['ratio']:.1f}",
        f"{result['bare_pod_s']:.1f}",
        str(result["rounds"]),
    )
    assert match.groups() == measured
