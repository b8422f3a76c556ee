"""Structured errors as Debian's dig and kdig read them, over UDP and TCP."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.processes import Site
from tests.journeys.running import HOST

CODE = 65100
PAGE = {
    "structured_errors": True,
    "option_code": CODE,
    "incident": "programme-1",
    "operator": "Example ISP",
    "contact": "help@isp.example",
    "authority": "Example Court",
    "law": "Act 1",
}
SAID = {
    "c": ["mailto:help@isp.example"],
    "j": "Example Court: Act 1",
    "o": "Example ISP",
    "l": "en",
    "inc": "programme-1",
}


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig_and_kdig_read_a_structured_error(program: Callable[[str], str], tmp_path: Path, transport: str) -> None:
    site = Site(tmp_path, [])
    site.change("page", **PAGE)
    site.publish(["listed.test"])
    with site.started() as service:
        options = ("a.listed.test", "A", transport, "+edns=0", f"+ednsopt={CODE}")
        for tool in ("dig", "kdig"):
            asked = [program(tool), f"@{HOST}", "-p", str(service.dns), *options]
            said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
            error = re.search(r"EDE: 16 \(Censored\): [('\"]*(\{.*\})", said)
            assert error, said
            assert json.loads(error[1].replace('\\"', '"')) == SAID
            assert "ANSWER: 0" in said, said
