"""Keeps versions in a bucket of S3 or a compatible service.

Files published at PATH are stored in PATH/ID/, where ID is the beginning of the manifest's SHA-256;
PATH/manifest.json is written last, and only if it does not exist. So concurrent uploads do not
conflict, and an interrupted upload can be repeated at once.

Credentials, region and endpoint come from boto3's usual sources: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL and so on.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from core.errors import AskdocsError, together
from training.versions import files as hashed
from training.versions.local import appearing
from training.versions.manifest import MANIFEST, File, sha256, total
from training.versions.storage import FileInfo
from wiki.sources.sync import Progress

SCHEME = "s3://"
PART = 32 * 2**20
_UPLOADED = re.compile(r"([^/]+(?:/artefacts/[^/]+)?)/([0-9a-f]{16})/")
# Suffix of an incomplete multipart upload's name.
_UPLOAD = "?uploadId="
FIX = "push the version there again"
CREDENTIALS = "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"


class Bucket:
    """A `VersionStorage`."""

    def __init__(self, address: str, cache: Path) -> None:
        """`cache` is the folder for fetched files. Raises AskdocsError: the address is invalid."""
        self._bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
        if not address.startswith(SCHEME) or not self._bucket:
            raise AskdocsError(
                f"{address!r} is not an address of S3: write it as s3://BUCKET/PREFIX"
            )
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._cache = cache
        with self._reported_errors():
            patient = Config(connect_timeout=10, retries={"mode": "standard", "max_attempts": 4})
            self._client: Any = boto3.Session().client("s3", config=patient)

    def __str__(self) -> str:
        return f"{SCHEME}{self._bucket}/{self._prefix}".rstrip("/")

    def list(self, under: str = "") -> dict[str, FileInfo]:
        prefix = self._prefix + (f"{under}/" if under else "")
        entries = {}
        with self._reported_errors():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    entry = FileInfo(item["Size"], item["LastModified"])
                    entries[item["Key"].removeprefix(self._prefix)] = entry
        return entries

    def read(self, path: str) -> bytes | None:
        with self._reported_errors():
            try:
                content: bytes = self._client.get_object(**self._at(path))["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None
            return content

    def create(self, path: str, content: bytes) -> bool:
        with self._reported_errors():
            try:
                self._client.put_object(
                    **self._at(path), Body=content, ChecksumAlgorithm="SHA256", IfNoneMatch="*"
                )
            except ClientError as error:
                # 409: another writer is writing it now.
                if error.response["Error"]["Code"] not in (
                    "PreconditionFailed",
                    "ConditionalRequestConflict",
                ):
                    raise
        # After a lost response, boto3 repeated the write.
        return self.read(path) == content

    def publish(
        self,
        path: str,
        folder: Path,
        manifest: bytes,
        files: Mapping[str, File],
        progress: Progress,
    ) -> bool:
        there = self.read(f"{path}/{MANIFEST}")
        if there is not None:
            return there == manifest
        count = hashed.counter(f"uploading {path}", total(files), progress)
        with self._reported_errors():
            for name, file in files.items():
                self._client.upload_file(
                    str(folder / name),
                    **self._at(f"{path}/{_id(manifest)}/{name}"),
                    ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                    Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
                    Callback=count,
                )
                hashed.unchanged(folder / name, folder / name, file, lambda more: None)
        return self.create(f"{path}/{MANIFEST}", manifest)

    def fetch(
        self, path: str, manifest: bytes, files: Mapping[str, File], progress: Progress
    ) -> Path:
        # As its name contains the manifest's SHA-256, a copy never goes stale.
        target = self._cache / f"{path.replace('/', '-')}-{_id(manifest)}"
        if target.exists():
            with suppress(AskdocsError):
                hashed.verify(target, files, f"{target}/", FIX, progress)
                return target
            with self._reported_errors():
                shutil.rmtree(target)
        place = f"{path}/{_id(manifest)}/"
        self._see_all(place, files)
        count = hashed.counter(f"downloading {path}", total(files), progress)
        with self._reported_errors(), appearing(target) as new:
            for name in files:
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(
                    **self._at(place + name), Filename=str(new / name), Callback=count
                )
            hashed.verify(new, files, f"{self}/{place}", FIX, progress)
            (new / MANIFEST).write_bytes(manifest)
        return target

    def remains(self) -> dict[str, FileInfo]:
        entries: dict[str, FileInfo] = {}
        published: dict[str, str | None] = {}
        for key, entry in self.list().items():
            if match := _UPLOADED.match(key):
                path, upload = match.groups()
                if path not in published:
                    manifest = self.read(f"{path}/{MANIFEST}")
                    published[path] = None if manifest is None else _id(manifest)
                if upload != published[path]:
                    before = entries.get(f"{path}/{upload}", FileInfo(0, entry.modified))
                    entries[f"{path}/{upload}"] = FileInfo(
                        before.bytes + entry.bytes, max(before.modified, entry.modified)
                    )
        with self._reported_errors():
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Uploads", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    upload = {**self._at(path), "UploadId": item["UploadId"]}
                    listing = self._client.get_paginator("list_parts").paginate(**upload)
                    # An upload in progress may end meanwhile.
                    with suppress(self._client.exceptions.NoSuchUpload):
                        size = sum(p["Size"] for parts in listing for p in parts.get("Parts", ()))
                        entries[f"{path}{_UPLOAD}{item['UploadId']}"] = FileInfo(
                            size, item["Initiated"]
                        )
        return entries

    def remove(self, path: str) -> None:
        path, _, upload = path.partition(_UPLOAD)
        with self._reported_errors():
            if upload:
                with suppress(self._client.exceptions.NoSuchUpload):
                    self._client.abort_multipart_upload(**self._at(path), UploadId=upload)
                return
            for inner in (path, *self.list(path)):
                self._client.delete_object(**self._at(inner))

    def _at(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + path}

    def _see_all(self, place: str, files: Mapping[str, File]) -> None:
        """Check sizes before downloading gigabytes. Raises AskdocsError: a file is missing or
        truncated."""
        there = self.list(place.rstrip("/"))
        problems = []
        for name, file in files.items():
            entry = there.get(place + name)
            if entry is None:
                problems.append(hashed.missing(f"{self}/{place}{name}", FIX))
            elif entry.bytes != file.bytes:
                problems.append(hashed.resized(f"{self}/{place}{name}", entry.bytes, file, FIX))
        if problems:
            raise together(problems)

    @contextmanager
    def _reported_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AskdocsError(
                f"{error.filename or self._cache}: {error.strerror}: check free space and write "
                "permission"
            ) from None
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise AskdocsError(f"{self}: {_explain(error)}") from None


def _id(manifest: bytes) -> str:
    return sha256(manifest)[:16]


def _explain(error: Exception) -> str:
    """boto3's error in a line, with the fix."""
    # boto3 wraps the causes of failed uploads.
    cause = error.__context__ if isinstance(error, S3UploadFailedError) else error
    if isinstance(cause, NoCredentialsError):
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(cause, ConnectionError | HTTPClientError):
        return f"cannot be reached ({cause}): check the network and AWS_ENDPOINT_URL"
    if not isinstance(cause, ClientError):
        return f"{cause}: check the AWS_ variables and ~/.aws"
    code = cause.response["Error"].get("Code", "")
    if code == "NoSuchBucket":
        return "no such bucket: create it, or name another"
    if code in CREDENTIALS:
        return f"the credentials are refused ({code}): renew AWS_ACCESS_KEY_ID and the others"
    if code in ("AccessDenied", "403"):
        return (
            f"{cause.operation_name} is not allowed: these credentials need s3:ListBucket,"
            " s3:GetObject, s3:PutObject, s3:AbortMultipartUpload, and for gc s3:DeleteObject,"
            " s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts there"
        )
    return f"{cause.operation_name} failed ({code or cause}): try again later"
