"""What is no fault of castmine's is told in words."""

from __future__ import annotations

import pytest

from conf.errors import GpuUnavailable, LakeError, UsageError
from jobs.lake.faults import explain

TRACE = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/opt/udfs/staging.py", line 61, in write_table
OSError: [Errno 28] No space left on device

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/udfs/harvest.py", line 90, in scan_films
conf.errors.{error}

	at org.apache.spark.api.python.BasePythonRunner
"""


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        ("LakeError: /lake/_staging/k: cannot be written to", LakeError, "/lake/_staging/k: cannot be written to"),
        ("GpuUnavailable: no GPU", GpuUnavailable, "no GPU"),
        ("NotOfOurs: what?", LakeError, "what?"),
    ],
)
def test_a_workers_own_error_is_said_as_it_was_raised(error, kind, said):
    meant = explain(RuntimeError(TRACE.format(error=error)), "/lake")
    assert (type(meant), str(meant)) == (kind, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("java.io.IOException: No space left on device", "/lake: no space left. Make room"),
        (
            "java.io.IOException: '/lake/runs/_delta_log/1.json': Read-only file system",
            "/lake/runs/_delta_log/1.json: the file",
        ),
        ("java.io.FileNotFoundException: /lake/x (Permission denied)", "/lake/x: permission denied"),
        ("SparkException: Python worker exited unexpectedly (crashed)", "a Python worker was killed again and again"),
        ("java.lang.OutOfMemoryError: Java heap space", "--set spark.spark.driver.memory=8g"),
        ("Py4JNetworkError: Answer from Java side is empty", "Spark's JVM has ended"),
    ],
)
def test_what_the_machine_says_gets_its_meaning_and_what_to_do(text, said):
    meant = explain(RuntimeError(f"An error occurred while calling o1.append.\n: {text}\n\tat somewhere"), "/lake")
    assert isinstance(meant, LakeError)
    assert said in str(meant)
    assert "\n" not in str(meant)


def test_other_errors_stay_what_they_are():
    for error in (UsageError("a"), ValueError("no such thing")):
        assert explain(error, "/lake") is error
