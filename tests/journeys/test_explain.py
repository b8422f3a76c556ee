"""`list fetch --explain` over https with real processes: each step of the walk, the verdict, and what to do."""

from pathlib import Path

import trustme

from tests.fakes.authority import Authority, names
from tests.fakes.https import Server
from tests.fakes.upstream import in_thread, records
from tests.journeys.processes import Site, list_of
from tests.journeys.test_screen import operate

HOST = "authority.example"


def test_a_feed_that_fails_over_https_is_walked_step_by_step(tmp_path: Path) -> None:
    authority, ca = Authority(tmp_path / "served"), trustme.CA()
    authority.publish(names(20), 7)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    table = {(HOST, "A"): ["127.0.0.1"]}
    with in_thread(records(table)) as upstream, Server(authority.folder, ca, name=HOST) as server:
        one = list_of(authority.folder)
        url = f"https://{HOST}:{server.port}"
        one["source"] |= {"url": url, "root": str(authority.pinned), "ca": str(tmp_path / "ca.pem")}
        site = Site(tmp_path, [upstream.address], {}, [one])
        with site.started():
            good = operate(site, "list", "fetch", "demo", "--explain")
            assert good.returncode == 0, good.stderr
            steps = [line.partition(" ms  ")[2] for line in good.stdout.splitlines() if " ms  " in line]
            for begins in (
                f"looking up {HOST}:{server.port}: 1 address",
                f"connecting to {HOST}:{server.port}, address 1 of 1",
                f"TLS handshake with {HOST}:{server.port}: TLS 1.3, certificate verified",
                f"reading {url}/metadata/timestamp.json: ",
                f"using the kept copy of {url}/metadata/targets.json: version ",
            ):
                assert any(step.startswith(begins) for step in steps), (begins, steps)
            assert good.stdout.splitlines()[-1] == "demo: nothing new; serial 7 stays"
            (authority.folder / "metadata/timestamp.json").unlink()
            bad = operate(site, "list", "fetch", "demo", "--explain")
            missing = f"unreachable: {url}/metadata/timestamp.json: HTTP status 404 Not Found"
            assert bad.returncode == 3
            assert bad.stdout.splitlines()[-2] == f"demo: refused: {missing}; serial 7 stays"
            assert bad.stdout.splitlines()[-1].startswith("next: ")
            status = operate(site, "list", "status").stdout
            assert missing in " ".join(status.split())
            assert "name0" not in good.stdout + bad.stdout + status
