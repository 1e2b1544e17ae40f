"""What each command imports, and that doctor needs nothing: who only asks need not wait for what decodes films."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import doctor
from jobs.cli.dispatch import COMMANDS

ROOT = Path(__file__).parents[3]
HEAVY = {"av", "cv2", "insightface", "onnxruntime", "torch", "sklearn", "scenedetect", "scipy", "petastorm", "PIL"}
# the packages of others that may be imported before a command knows what it is asked
SPARK = {"numpy", "pandas", "py4j", "pyarrow", "pydantic", "pyspark", "rich", "yaml"}
LIGHT = {
    "sql": SPARK,
    "export": SPARK,
    "status": SPARK | {"requests"},
    "show": {"numpy", "pyarrow", "pydantic", "rich", "yaml"},
    "models": {"pydantic", "requests", "rich", "yaml"},
    "doctor": set(),
}
KNOWN = HEAVY | SPARK | {"requests", "delta", "tensorboard"}


def imported(*words: str) -> set[str]:
    """Which of KNOWN a fresh Python has imported after `castmine WORDS`."""
    program = (
        "import sys\nfrom jobs.cli.dispatch import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=ROOT, check=True)
    return KNOWN & set(done.stderr.split())


@pytest.mark.parametrize("command", LIGHT)
def test_light_commands_import_no_more_than_they_need(command):
    assert imported(command, "--help") == LIGHT[command]


def test_the_help_of_all_commands_imports_nothing():
    assert imported("--help") == set()


def test_every_command_is_known_here_or_heavy():
    assert set(LIGHT) <= set(COMMANDS)


def test_doctor_in_a_bare_python_says_what_is_missing():
    """-S: a Python without a single package of castmine's; -I would also hide the checkout."""
    bare = subprocess.run(
        [sys.executable, "-S", "-m", "jobs.doctor"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert bare.returncode == 1
    assert bare.stderr == ""
    lines = {line.split(":")[0].split(None, 1)[1]: line for line in bare.stdout.splitlines()}
    assert "ok" in lines["Python"]
    for name, _ in doctor._list_needed():
        assert f"{name} " in lines["packages"]
    assert "cannot be looked at without the package" in lines["face models"]


def test_doctor_names_what_is_missing_and_what_is_another_version(capsys, monkeypatch):
    versions = dict(doctor._list_needed()) | {"av": "17.0.0", "torch": None}
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert doctor.main([]) == 1
    said = capsys.readouterr().out
    assert f"missing  packages: not installed: torch {dict(doctor._list_needed())['torch']}. " in said
    versions["torch"] = dict(doctor._list_needed())["torch"]
    doctor.main([])
    assert f"av 17.0.0 (castmine is tried with {dict(doctor._list_needed())['av']})" in capsys.readouterr().out


def test_doctor_takes_the_gpu_build_for_the_other_one(monkeypatch):
    pins = dict(doctor._list_needed())
    versions = {**pins, "onnxruntime": None, "onnxruntime-gpu": pins["onnxruntime"]}
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert doctor._packages() == f"all {len(pins)} are there"
