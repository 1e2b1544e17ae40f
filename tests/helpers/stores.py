"""An object store on this machine: moto's S3 server, which speaks S3's own protocol."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


PORT = _free_port()
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_MAX_ATTEMPTS": "2",
}


@contextlib.contextmanager
def serve() -> Iterator[None]:
    """The store, while the block runs; empty at first."""
    server = "import sys; from moto.server import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", server, "-H", "127.0.0.1", "-p", str(PORT)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), 1):
                    break
                if process.poll() is not None:
                    raise RuntimeError(f"moto's server ended with {process.returncode}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def client():
    """What S3's makers offer to look into it, so that what castmine wrote is read by others."""
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def make_bucket(name: str) -> str:
    """A new bucket, to be found by its name again; its address."""
    client().create_bucket(Bucket=name)
    return f"s3://{name}"


def download(address: str, folder: Path) -> Path:
    """All objects below an address, as files of a folder."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for found in page.get("Contents", []):
            file = folder / found["Key"].removeprefix(f"{prefix}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            client().download_file(bucket, found["Key"], str(file))
    return folder


def put(address: str, content: bytes) -> str:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    client().put_object(Bucket=bucket, Key=key, Body=content)
    return address
