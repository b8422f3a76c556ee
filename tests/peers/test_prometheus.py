"""A real Prometheus scrapes the exporter and answers questions about it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from resolver.count.exporter import Exporter
from resolver.count.metrics import PREFIX, Sample, Series, of_beat
from resolver.count.publish import Published
from resolver.quiet_http.bounds import METRICS_BOUNDS
from resolver.quiet_http.serve import serve_http
from tests.unit.count.labels import LABELS

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: resolver
    static_configs: [{{targets: ['{target}']}}]
"""
PUBLISHED = Published(
    1_800_000_000,
    MappingProxyType(
        dict.fromkeys(of_beat(LABELS), 0)
        | {
            Series("blocked_attempts_total", ("demo",)): 120,
            Series("upstream_exchange_seconds", ("0.01",)): 100,
            Series("upstream_exchange_seconds_sum"): 700_000,
        }
    ),
)


class Scraped:
    """The exporter's answers, and how often metrics were asked for."""

    def __init__(self) -> None:
        self.exporter = Exporter(
            LABELS,
            published=lambda: PUBLISHED,
            read_live=lambda: [Sample("enforcing", (), 1)],
            ready=lambda: True,
        )
        self.scrapes = asyncio.Semaphore(0)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            self.scrapes.release()
        return await self.exporter.respond(request)


@asynccontextmanager
async def prometheus(path: str, folder: Path, target: str) -> AsyncIterator[str]:
    """The address of a running Prometheus that scrapes the target five times a second."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=target))
    process = await asyncio.create_subprocess_exec(
        path,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    try:
        async for line in process.stderr:
            found = re.search(rb'Listening on.*address"?[=:]"?([\d.]+:\d+)', line)
            if found:
                break
        else:
            pytest.fail("prometheus did not start")
        yield found[1].decode()
    finally:
        process.terminate()
        # Its log is read to the end, so that it is not held up by a full pipe.
        await process.communicate()


async def ask(session: aiohttp.ClientSession, address: str, query: str) -> list[Any]:
    url = f"http://{address}/api/v1/query"
    async with session.get(url, params={"query": query}) as answer:
        told = await answer.json()
    assert told["status"] == "success", told
    result: list[Any] = told["data"]["result"]
    return result


@pytest.mark.asyncio(loop_factories=["asyncio"])  # test_exporter.py serves on both
async def test_prometheus_takes_every_sample(program: Callable[[str], str], tmp_path: Path) -> None:
    path, scraped = program("prometheus"), Scraped()
    server = await serve_http(scraped.answer, [("127.0.0.1", 0)], METRICS_BOUNDS)
    host, port = server.addresses[0]
    async with prometheus(path, tmp_path, f"{host}:{port}") as address, aiohttp.ClientSession() as session:
        for _ in range(2):  # A second scrape begins when the first is stored.
            await scraped.scrapes.acquire()
        (up,) = await ask(session, address, "up")
        assert up["value"][1] == "1"
        (attempts,) = await ask(session, address, f'{PREFIX}blocked_attempts_total{{list="demo"}}')
        assert attempts["value"][1] == "120"
        (build,) = await ask(session, address, f"{PREFIX}build_info")
        assert build["metric"]["definition"] == "v1"
        quantile = f"histogram_quantile(0.5, {PREFIX}upstream_exchange_seconds_bucket)"
        (median,) = await ask(session, address, quantile)
        assert 0.005 <= float(median["value"][1]) <= 0.01
        (number,) = await ask(session, address, f'count({{__name__=~"{PREFIX}.*"}})')
        shown = sum(len(family.samples) for family in scraped.exporter.registry.collect())
        assert int(number["value"][1]) == shown
    await server.stop()
