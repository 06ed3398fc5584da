"""Duration and memory of packing, compared with Pillow on one core in the same run.

    bench/pack.py [--source ZIP] [--repeat N] [--json FILE]

Without a source, CIFAKE is read from ../shared/cifake (or CIFAKE_DIR) if it exists there. Otherwise, an archive with
the same number of JPEGs of the same size is generated. The data set is packed into a local folder and flushed, as for
users.
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
CIFAKE_DIR = Path(os.environ.get("CIFAKE_DIR", ROOT.parent / "shared" / "cifake"))
LIMIT_S, LIMIT_MIB = 5.0, 1024
"""Maximum duration and memory, shown beside the measurements."""
CHILD = """
import json, sys, time
from tuner.bucket import open_bucket
from tuner.data.pack import pack
if __name__ == "__main__":
    bucket = open_bucket(sys.argv[2])
    began = time.perf_counter()
    manifest = pack(sys.argv[1], bucket)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    pack(sys.argv[1], bucket)
    print(json.dumps({
        "seconds": seconds,
        "again_seconds": time.perf_counter() - began,
        "images": sum(sum(part.counts) for part in manifest.splits.values()),
        "digest": manifest.digest,
    }))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="zip to pack")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "pack.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cifake-tune-bench-") as folder:
        source = arguments.source or make_source(Path(folder))
        runs = [pack_in_a_child(source, Path(folder) / f"bucket{number}") for number in range(arguments.repeat)]
        pillow_s = pillow_on_one_core(source)
    pack_s = min(run["seconds"] for run in runs)
    result: dict[str, Any] = {
        "images": runs[0]["images"],
        "pack_seconds": pack_s,
        "pack_seconds_median": statistics.median(run["seconds"] for run in runs),
        "images_per_second": runs[0]["images"] / pack_s,
        "again_seconds": min(run["again_seconds"] for run in runs),
        "pillow_one_core_seconds": pillow_s,
        "ratio_to_pillow": pillow_s / pack_s,
        "peak_mib": max(run["peak_mib"] for run in runs),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    show(result)


def make_source(folder: Path) -> Path:
    """Return CIFAKE as an archive, or a generated archive like it."""
    path = folder / "archive.zip"
    unpack = CIFAKE_DIR / "unpack"
    if unpack.exists():
        subprocess.run([sys.executable, str(unpack), str(path)], check=True, stdout=subprocess.DEVNULL)
        return path
    noise = np.random.default_rng(1)
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in (("train", 50_000), ("test", 10_000)):
            for name in ("FAKE", "REAL"):
                for index in range(count):
                    stream = io.BytesIO()
                    coarse = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8))
                    coarse.resize((32, 32)).save(stream, "JPEG", quality=75)
                    archive.writestr(f"{split}/{name}/{index:05d}.jpg", stream.getvalue())
    return path


def pack_in_a_child(source: Path, bucket: Path) -> dict[str, float]:
    """Return the times of a child process, and the peak memory of the child and its own children together."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # a file, because spawned processes import the main module of their parent
    script = bucket.with_suffix(".py")
    script.write_text(CHILD)
    command = [sys.executable, str(script), str(source), str(bucket)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        peaks = [0.0]

        def watch() -> None:
            while child.poll() is None:
                peaks.append(tree_mib(child.pid))
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = child.communicate()
        watcher.join()
    if child.returncode:
        raise SystemExit(f"packing failed with exit code {child.returncode}")
    times: dict[str, float] = json.loads(output)
    return times | {"peak_mib": max(peaks)}


def tree_mib(pid: int) -> float:
    """Return the memory of a process and its descendants in MiB, with shared pages counted once; Linux only."""
    total_kib, waiting = 0, [pid]
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            for line in (process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # the process has just ended
            continue
    return total_kib / 1024


def pillow_on_one_core(source: Path) -> float:
    """Return the seconds of the straightforward way: zipfile, Pillow, one array."""
    began = time.perf_counter()
    with zipfile.ZipFile(source) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        first = np.asarray(Image.open(io.BytesIO(archive.read(names[0]))))
        pixels = np.empty((len(names), *first.shape), np.uint8)
        for index, name in enumerate(names):
            pixels[index] = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
    return time.perf_counter() - began


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"data pack: {result['images']:,} JPEGs from a zip, {result['cores']} cores")
    for column, justify in (("", "left"), ("measured", "right"), ("limit", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_row("pack (best run)", f"{result['pack_seconds']:.2f} s", f"{LIMIT_S:.0f} s")
    table.add_row("pack (median)", f"{result['pack_seconds_median']:.2f} s", "")
    table.add_row("images/s", f"{result['images_per_second']:,.0f}", "")
    table.add_row("pack again (nothing to do)", f"{result['again_seconds']:.2f} s", "")
    table.add_row("zipfile + Pillow, one core", f"{result['pillow_one_core_seconds']:.2f} s", "")
    table.add_row("speed-up", f"{result['ratio_to_pillow']:.1f}", "")
    table.add_row("peak memory, all processes", f"{result['peak_mib']:.0f} MiB", f"{LIMIT_MIB} MiB")
    Console().print(table)


if __name__ == "__main__":
    main()
