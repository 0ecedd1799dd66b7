"""Google's XML API for writing, in front of fake-gcs-server, which knows it for reading, listing and deleting only.

Runs as a process of its own: python -m tests.storage.gcs_xml PORT UPSTREAM FOLDER. Parts of an upload are files
under FOLDER until it is completed; then the object is given to fake-gcs-server in one piece.
"""

import hashlib
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import ClientSession, web
from tests.kube.process import HOST
from yarl import URL

_NO_BUCKET = "<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>There is none.</Message></Error>"
_STARTED = (
    "<?xml version='1.0'?><InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{name}</Key>"
    "<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
)
_COMPLETED = (
    "<?xml version='1.0'?><CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag>"
    "</CompleteMultipartUploadResult>"
)
_CHUNK = 1024 * 1024


class Front:
    """Answers what is written, and hands on the rest."""

    def __init__(self, upstream: str, folder: Path, session: ClientSession) -> None:
        self._upstream, self._folder, self._session = upstream, folder, session

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        bucket, _, name = request.match_info["path"].partition("/")
        upload = request.query.get("uploadId")
        is_ours = name and not request.raw_path.startswith(("/storage/v1/", "/_internal/"))
        match (request.method, upload is not None) if is_ours else ("", False):
            case ("POST", False):
                return await self._start(bucket, name)
            case ("PUT", True):
                return await self._take_part(request, str(upload))
            case ("POST", True):
                return await self._complete(bucket, name, str(upload))
            case ("DELETE", True):
                shutil.rmtree(self._folder / str(upload), ignore_errors=True)
                return web.Response(status=204)
            case ("PUT", False):
                condition = request.headers.get("x-goog-if-generation-match")
                return await self._insert(bucket, name, request.content.iter_chunked(_CHUNK), condition)
        return await self._hand_on(request)

    async def _start(self, bucket: str, name: str) -> web.Response:
        async with self._session.get(f"{self._upstream}/storage/v1/b/{bucket}") as found:
            if found.status == 404:
                return web.Response(status=404, text=_NO_BUCKET)
        upload = secrets.token_hex(8)
        (self._folder / upload).mkdir()
        return web.Response(text=_STARTED.format(bucket=bucket, name=quote(name), upload=upload))

    async def _take_part(self, request: web.Request, upload: str) -> web.Response:
        digest = hashlib.md5(usedforsecurity=False)
        with (self._folder / upload / f"{int(request.query['partNumber']):05}").open("wb") as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _complete(self, bucket: str, name: str, upload: str) -> web.Response:
        answer = await self._insert(bucket, name, self._joined(upload), None)
        shutil.rmtree(self._folder / upload)
        if answer.status != 200:
            return answer
        return web.Response(text=_COMPLETED.format(etag=upload))

    async def _joined(self, upload: str) -> AsyncIterator[bytes]:
        for part in sorted((self._folder / upload).iterdir()):
            with part.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    async def _insert(self, bucket: str, name: str, body: AsyncIterator[bytes], condition: str | None) -> web.Response:
        url = f"{self._upstream}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        if condition is not None:
            url += f"&ifGenerationMatch={condition}"
        async with self._session.post(url, data=body) as inserted:
            if inserted.status == 404:
                return web.Response(status=404, text=_NO_BUCKET)
            if inserted.status != 200:
                return web.Response(status=inserted.status, body=await inserted.read())
            told = await inserted.json()
        return web.Response(
            headers={"ETag": f'"{told["etag"].strip(chr(34))}"', "x-goog-generation": told["generation"]}
        )

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        url = f"{self._upstream}{request.raw_path}"
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        body = await request.read()
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body or None
        ) as found:
            kept = {
                name: value
                for name, value in found.headers.items()
                if name.lower() not in ("transfer-encoding", "content-encoding", "connection")
            }
            answer = web.StreamResponse(status=found.status, headers=kept)
            await answer.prepare(request)
            if request.method != "HEAD":
                async for chunk in found.content.iter_chunked(_CHUNK):
                    await answer.write(chunk)
            return answer


async def application(upstream: str, folder: Path) -> web.Application:
    """The server's application."""
    app = web.Application(client_max_size=1024**3)
    session = ClientSession(auto_decompress=False)

    async def close(_: web.Application) -> None:
        await session.close()

    app.router.add_route("*", "/{path:.*}", Front(upstream, folder, session).answer)
    app.on_cleanup.append(close)
    return app


if __name__ == "__main__":
    port, upstream, folder = sys.argv[1:]
    Path(folder).mkdir(exist_ok=True)
    web.run_app(application(upstream, Path(folder)), host=HOST, port=int(port), print=None)
