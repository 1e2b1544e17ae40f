"""What Spark, its workers and the disk have to say, in castmine's words."""

from __future__ import annotations

import re

from conf import errors
from conf.errors import CastmineError, LakeError

OF_A_WORKER = re.compile(r"^conf\.errors\.(\w+): (.+)$", re.MULTILINE)  # in the trace that Spark hands on
SAFE = "What is committed stays; run the same command again"
OF_THE_PLACE = {
    "No space left on device": "no space left. Make room, and run the same command again; what is committed stays",
    "Disk quota exceeded": f"the disk quota is used up. {SAFE} when there is room",
    "Read-only file system": "the file system is read-only. Mount it to be written to, or name another lake",
    "Permission denied": "permission denied. Give the right to write there, or name another lake",
    "Stale file handle": f"the network disk has lost a file (stale file handle). {SAFE}",
    "Input/output error": f"the disk cannot be read or written (input/output error). {SAFE} when it is mended",
    "File name too long": "a name is longer than the file system takes; choose a shorter one",
    "Not a directory": "a file stands where a folder should be; name another place",
    "File exists": "a file stands where a folder should be; name another place",
    "Too many open files": f"too many open files: raise `ulimit -n`. {SAFE}",
}
OF_A_PROCESS = {
    "Python worker exited unexpectedly": f"a Python worker was killed again and again (out of memory?). {SAFE}, with "
    "fewer at once: --master 'local[2]', or less memory used elsewhere",
    "java.lang.OutOfMemoryError": f"Spark's memory is used up: --set spark.spark.driver.memory=8g. {SAFE}",
    "Answer from Java side is empty": f"Spark's JVM has ended (was it killed, out of memory?). {SAFE}",
    **dict.fromkeys(
        ("No FileSystem for scheme", "S3AFileSystem not found"),
        "this Spark has no connector for such an address; add it to the session's jars (for S3 the hadoop-aws of its "
        "Hadoop), or mount the store and give its path",
    ),
    "UnknownStoreException": "no such bucket; make it, or name another one",
    "Unable to load credentials": "the store asks for keys, and none are found: set them where the store's own tools "
    "look for them (for S3 the environment, ~/.aws, or the machine's role), for driver and workers",
    "SparkContext was shut down": f"Spark's session was stopped from outside. {SAFE}",
}


def explain(error: Exception, lake: str) -> Exception:
    """castmine's error for what is no fault of castmine's; `error` itself where nobody knows what it means."""
    if isinstance(error, CastmineError):
        return error
    text = f"{type(error).__name__}: {error}"
    if said := OF_A_WORKER.findall(text):
        name, message = said[-1]
        return type_of(name)(message)
    for words, meaning in OF_THE_PLACE.items():
        if words in text:
            return LakeError(f"{_path_in(text, words) or lake}: {meaning}")
    for words, meaning in OF_A_PROCESS.items():
        if words in text:
            return LakeError(meaning)
    return error


def type_of(name: str) -> type[CastmineError]:
    """The class of that name in `conf.errors`."""
    found = getattr(errors, name, LakeError)
    return found if isinstance(found, type) and issubclass(found, CastmineError) else LakeError


def _path_in(text: str, words: str) -> str | None:
    """The path in the line that says so."""
    line = next(line for line in text.splitlines() if words in line)
    found = re.search(r"(/[^\s:'\")]+)", line)
    return found[1] if found else None
