"""Rounds in which a commit, two rollbacks and a timer decide one transaction at its deadline; run on a lab host.

    hostside_race.py TEMPLATE ROUNDS JITTER

TEMPLATE is a folder with a transaction of host.sh under way, and `host.sh` beside it; each round has a copy
of it. JITTER is in seconds. A line for each round: what each of the four said, and how it ended there.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

TOGETHER = 8  # rounds at the same time, in folders of their own
AHEAD = 0.8  # seconds from the start of a process to the deadline, more than it takes to start

WORDS = (("commit",), ("rollback",), ("rollback",), ("expire",))


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def play(template: Path, first: int, jitter: float) -> list[dict[str, object]]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    deadline = int(uptime() + 1 + AHEAD)
    started = []
    for number in range(first, first + TOGETHER):
        folder = template.with_name(f"race-{number}")
        shutil.copytree(template, folder, symlinks=True)
        (folder / "transaction" / "deadline").write_text(f"{deadline} {boot}\n")
        (folder / "mark").write_text("new\n")
        for step in (folder / "transaction" / "live" / "0001").glob("*.01"):
            step.write_text(step.read_text().replace(str(template), str(folder)))
        transaction = (folder / "transaction" / "id").read_text().strip()
        for words in WORDS:
            at = deadline + random.uniform(-jitter, jitter) - uptime()
            argv = ["sh", "-c", 'sleep "$1"; shift; exec sh "$@"', "sh", f"{max(at, 0):.3f}"]
            argv += [str(folder / "host.sh"), *words, transaction]
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            started.append((folder, words[0], process))
    answers: dict[Path, list[tuple[str, int, str]]] = {}
    for folder, word, process in started:
        out, _ = process.communicate(timeout=120)
        answers.setdefault(folder, []).append((word, process.returncode, out.strip()))
    return [{"answers": said, **_end(folder)} for folder, said in answers.items()]


def _end(folder: Path) -> dict[str, object]:
    """What is there when all have ended, and the next caller has come."""
    kept = folder / "transaction"
    decided = (kept / "decision").read_text().strip() if (kept / "decision").exists() else ""
    if kept.exists():
        subprocess.run(["sh", str(folder / "host.sh"), "recover"], check=False, capture_output=True)
    history = folder / "history"
    lines = [line.split("\t")[-2:] for line in history.read_text().splitlines()] if history.exists() else []
    mark = (folder / "mark").read_text().strip()
    left = sorted(path.name for path in folder.iterdir() if path.name not in ("history", "mark", "host.sh"))
    shutil.rmtree(folder)
    return {"decided": decided, "history": lines, "mark": mark, "left": left}


if __name__ == "__main__":
    for first in range(0, int(sys.argv[2]), TOGETHER):
        for result in play(Path(sys.argv[1]), first, float(sys.argv[3])):
            sys.stdout.write(json.dumps(result) + "\n")
