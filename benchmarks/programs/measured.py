"""Run a command to its end, and print as JSON how it ended, how long it took and what it took; for a lab host."""

import json
import resource
import subprocess
import sys
import time

start = time.perf_counter()
ended = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True, text=True)
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(
    json.dumps(
        {
            "code": ended.returncode,
            "said": ended.stdout + ended.stderr,
            "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_kib": used.ru_maxrss,  # of the largest process, not of all together
        }
    )
)
