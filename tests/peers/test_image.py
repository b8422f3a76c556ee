"""The container image: what is in it, and the main job from it, as another account, read-only, with one capability.

`make test-image` builds the image and runs this: BLOCKLIST_IMAGE names the folder that deploy/container/build filled.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import trustme

from tests.journeys import edges
from tests.journeys.processes import (
    Site,
    asked,
    came,
    child_of,
    command_of,
    descendants,
    hang_up,
    list_of,
    query_for,
    wait_for,
)
from tests.journeys.running import HOST, PAGE_V4, ROOT, Service, stop
from tests.peers import contained, leak_rows, servers
from tests.peers.leak_rows import LISTED, NO_LEAK, ROWS, SERIAL
from tests.peers.servers import Server
from tests.peers.test_leak_table import TRANSPORTS, is_expected, outcome_of, ways_of
from tests.unit.edge.certificates import Secret

# The image is built by root in minutes; its own command runs this, and never skips it.
pytestmark = pytest.mark.skipif(
    "BLOCKLIST_IMAGE" not in os.environ, reason="`make test-image` builds the image and runs this"
)

BUILT = Path(os.environ.get("BLOCKLIST_IMAGE", "build/image")).absolute()
ARCHIVE = BUILT / "blocklist-resolver.oci.tar"
COMMAND = "/opt/blocklist-resolver/bin/blocklist-resolver"
OF_DEBIAN = "/usr/bin/python3"
MOST_MEGABYTES = 75
START_S = 300.0
"""Ends what hangs, and nothing else."""
NO_CAPABILITY = "0" * 16
ONE_CAPABILITY = f"{1 << contained.NET_BIND_SERVICE:016x}"


def blob(archive: tarfile.TarFile, digest: str) -> Any:
    """A JSON blob of the archive."""
    file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert file
    return json.loads(file.read())


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """The image's manifest, with its configuration as `config`."""
    with tarfile.open(ARCHIVE) as archive:
        index = archive.extractfile("index.json")
        assert index
        (one,) = json.loads(index.read())["manifests"]
        assert one["digest"] == (BUILT / "digest").read_text()
        found: dict[str, Any] = blob(archive, one["digest"])
        return {**found, "config": blob(archive, found["config"]["digest"])}


@pytest.fixture(scope="module")
def root(manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's root folder, unpacked with owners and capabilities, where every account may go."""
    if os.geteuid() != 0:
        pytest.fail("only root can unpack the image as it is")
    folder = tmp_path_factory.mktemp("image")
    tar = ("tar", "--xattrs", "--xattrs-include=security.capability", "--numeric-owner", "-xpz", "-C", folder)
    with tarfile.open(ARCHIVE) as archive:
        for layer in manifest["layers"]:
            file = archive.extractfile(f"blobs/{layer['digest'].replace(':', '/')}")
            assert file
            subprocess.run(tar, input=file.read(), check=True)
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.geteuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    return folder


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """The bill of materials beside the image."""
    found: dict[str, Any] = json.loads((BUILT / "blocklist-resolver.cdx.json").read_text())
    return found


def files(root: Path) -> Iterator[Path]:
    """Every file of the image that is no link."""
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def is_object(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def test_it_says_whom_to_run_it_as_and_holds_one_layer(manifest: dict[str, Any]) -> None:
    config = manifest["config"]["config"]
    assert config["User"] == f"{contained.ACCOUNT}:{contained.ACCOUNT}"
    assert config["Entrypoint"] == [COMMAND]
    assert config["StopSignal"] == "SIGTERM"
    assert len(manifest["layers"]) == 1


def test_it_holds_only_what_runs(root: Path) -> None:
    names = {path.name for path in (*(root / "usr/bin").iterdir(), *(root / "opt/blocklist-resolver/bin").iterdir())}
    assert names == {
        *("python3", "python3.13", "python", "blocklist-resolver"),
        *("ssh-keygen", "gpg", "gpg-agent", "gpgconf"),
    }
    assert list((root / "usr/sbin").iterdir()) == []
    for pattern in ("**/pip", "**/sh", "**/bash", "**/dash", "**/*.c", "**/cc1", "**/apt*", "**/busybox"):
        assert [path for path in root.glob(pattern) if "site-packages" not in path.parts] == [], pattern
    assert list(root.glob("**/site-packages/pip*")) == []
    assert sum(path.stat().st_size for path in files(root)) / 1e6 < 2.5 * MOST_MEGABYTES
    assert ARCHIVE.stat().st_size / 1e6 < MOST_MEGABYTES


def test_nobody_may_write_what_runs_and_no_file_gives_privileges_but_one(root: Path) -> None:
    for path in root.rglob("*"):
        found = path.lstat()
        inside = path.relative_to(root)
        if found.st_uid != 0:
            assert str(inside) in {
                "var/lib/blocklist-resolver",
                "run/blocklist-resolver",
                "run/blocklist-resolver-edge",
            }
        if not path.is_symlink() and str(inside) != "tmp":
            assert found.st_mode & 0o022 == 0, inside
        assert found.st_mode & 0o6000 == 0, inside
    held = [path for path in files(root) if "security.capability" in os.listxattr(path)]
    assert held == [root / "usr/bin/python3.13"]


def test_the_bill_lists_every_program_and_shared_object(root: Path, bill: dict[str, Any]) -> None:
    listed = {
        f"/{one['name']}": one["hashes"][0]["content"]
        for package in bill["components"]
        for one in package.get("components", ())
    }
    there = {
        f"/{path.relative_to(root)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files(root)
        if is_object(path)
    }
    assert there == listed
    assert sum(".so" in name for name in there) > 100
    inside = root / "usr/share/sbom/blocklist-resolver.cdx.json"
    assert json.loads(inside.read_text()) == bill


def test_the_bill_lists_every_package(root: Path, bill: dict[str, Any]) -> None:
    urls = {unquote(one.get("purl", "")) for one in bill["components"]}
    records = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir() if path.suffix != ".md5sums"}
    assert {url.split("/")[2].split("@")[0] for url in urls if url.startswith("pkg:deb/")} == records
    asked_for = (ROOT / "deploy/container/packages").read_text().splitlines()
    wanted = {line.split()[0] for line in asked_for if line[0] != "#"}
    assert records == wanted
    folders = root.glob("opt/*/lib/python3*/site-packages/*.dist-info")
    python = {path.name.removesuffix(".dist-info") for path in folders}
    said = {url.removeprefix("pkg:pypi/").replace("-", "_") for url in urls if url.startswith("pkg:pypi/")}
    normal = {re.sub(r"[-.]", "_", one.rpartition("-")[0]).lower() + "@" + one.rpartition("-")[2] for one in python}
    assert {re.sub(r"[.]", "_", one.split("@")[0]) + "@" + one.split("@")[1] for one in said} == normal
    # Each program and shared object stands within the package that it comes from.
    within = {one["name"]: {file["name"] for file in one.get("components", ())} for one in bill["components"]}
    assert "usr/lib/x86_64-linux-gnu/libc.so.6" in within["libc6"]
    assert "usr/bin/ssh-keygen" in within["openssh-client"]
    assert any("/resolver/core/steps." in name for name in within["blocklist-resolver"])


def test_every_library_that_an_object_needs_is_there(root: Path) -> None:
    """As the loader of the image finds it, in the image."""
    loader = "/lib64/ld-linux-x86-64.so.2"
    for path in files(root):
        if not is_object(path) or "ld-linux" in path.name:
            continue
        inside = f"/{path.relative_to(root)}"
        ended = subprocess.run(
            ["chroot", root, loader, "--list", inside], capture_output=True, text=True, check=False
        )
        assert "not found" not in ended.stdout + ended.stderr, (inside, ended.stdout)
        assert ended.returncode == 0 or "statically linked" in ended.stderr, (inside, ended.stderr)


@contextmanager
def in_container(
    root: Path, site: Site, capabilities: str = "bind", words: Sequence[str] = ("run",), until: str = "/readyz"
) -> Iterator[Service]:
    """The service of a site, from the image; it must end with 0."""
    site.write()
    for path in (site.folder, *site.folder.rglob("*")):
        os.chown(path, contained.ACCOUNT, contained.ACCOUNT, follow_symlinks=False)
    where = (OF_DEBIAN, contained.__file__, root, site.folder, capabilities, "service")
    command = (*where, COMMAND, *words, "--config", site.config)
    with open(site.folder / "stdout", "ab") as out, open(site.folder / "stderr", "ab") as err:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={"PATH": os.environ["PATH"]}
        )
    dns, page, metrics = site.ports
    service = Service(
        dns=dns, page=page, metrics=metrics, folder=site.folder, authority=site.authority, process=process
    )
    try:
        if until:
            service.until(until, seconds=START_S)
        yield service
    finally:
        status = stop(process)
    assert status == 0, service.said


@pytest.fixture
def folder(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder below /tmp, once what the container is made with is there."""
    if not contained.PROFILE.is_file():
        program("golang-github-containers-common")
    if subprocess.run([OF_DEBIAN, "-c", "import seccomp"], capture_output=True, check=False).returncode != 0:
        program("python3-seccomp")
    return tmp_path_factory.mktemp("site")


def site_of(folder: Path, upstreams: Sequence[str] = (f"{HOST}:9",)) -> Site:
    site = Site(folder, upstreams)
    site.set("control", socket="/run/blocklist-resolver/control")
    return site


def test_the_main_job_is_done_without_root_and_without_a_capability(root: Path, folder: Path) -> None:
    """A blocked answer, the page, metrics, a new list; and what the kernel says of every process."""
    site = site_of(folder)
    site.publish(["blocked.test"])
    began = time.monotonic()
    with in_container(root, site, "none") as service:
        print(f"ready after {time.monotonic() - began:.1f} s")
        for over in ("udp", "tcp"):
            assert asked(site.dns, "blocked.test", over=over) == f"{PAGE_V4} EDE 4"
        status, page = service.get("/", service.page)
        assert (status, b"</html>" in page) == (451, True)
        assert service.metric("list_serial") == site.authority.serial
        serial = site.publish(["blocked.test", "later.test"])
        for path in site.authority.folder.rglob("*"):
            os.chown(path, contained.ACCOUNT, contained.ACCOUNT)
        hang_up(service)
        service.until_serial(serial)
        assert asked(site.dns, "later.test") == f"{PAGE_V4} EDE 4"
        shown = child_of(service, "resolver.service.page_process")
        assert os.sched_getscheduler(shown) == os.SCHED_IDLE
        for pid in (service.process.pid, shown):
            held = fields_of(pid)
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert held[name] == NO_CAPABILITY, name
            assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", "2")
            assert set(held["Uid"].split()) == {str(contained.ACCOUNT)}
            assert mounted_read_only(pid)


def fields_of(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def mounted_read_only(pid: int) -> bool:
    """Whether the root folder of a process is read-only."""
    roots = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    (options,) = [one[5] for one in roots if one[4] == "/"] or [""]
    return "ro" in options.split(",")


def test_ports_below_1024_need_the_one_capability_and_it_is_given_up(root: Path, folder: Path) -> None:
    """With no_new_privs, as in Kubernetes with allowPrivilegeEscalation: false; in a network of its own."""
    site = site_of(folder)
    site.publish(["blocked.test"])
    site.set("listen", dns=[f"{HOST}:53"])
    site.sections["listen"]["dns"] = [f"{HOST}:53"]
    site.sections["page"]["listen"] = [f"{HOST}:80"]
    with own_network(), in_container(root, site, "bind") as service:
        assert asked(53, "blocked.test") == f"{PAGE_V4} EDE 4"
        assert service.get("/", 80)[0] == 451
        held = fields_of(service.process.pid)
        assert held["CapBnd"] == ONE_CAPABILITY
        assert {held[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {NO_CAPABILITY}


@contextmanager
def own_network() -> Iterator[None]:
    """A network with loopback alone, for this thread and what it starts."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert contained.libc.unshare(0x40000000) == 0
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        contained.libc.setns(before, 0)
        os.close(before)


def test_the_probes_of_a_pod_say_when_every_list_is_in_force(root: Path, folder: Path) -> None:
    """What the chart asks: /healthz for the start, `ask localhost` for readiness, before and after the first list."""
    site = site_of(folder)
    look = (
        *("chroot", f"--userspec={contained.ACCOUNT}:{contained.ACCOUNT}", str(root), COMMAND),
        *("ask", "localhost", "--server", f"{HOST}:{site.dns}"),
    )
    with in_container(root, site, "none", until="") as service:
        service.until("/healthz", seconds=START_S)
        assert service.get("/readyz") == (503, b"not ready: not every list is in force\n")
        before = subprocess.run(look, capture_output=True, text=True, check=False)
        assert (before.returncode, "SERVFAIL" in before.stdout) == (1, True), before.stderr
        serial = site.publish(["blocked.test"])
        for path in site.authority.folder.rglob("*"):
            os.chown(path, contained.ACCOUNT, contained.ACCOUNT)
        hang_up(service)
        service.until_serial(serial)
        after = subprocess.run(look, capture_output=True, text=True, check=False)
        assert (after.returncode, "127.0.0.1" in after.stdout) == (0, True), after.stderr


def test_the_page_alone_is_shown_from_the_image(root: Path, folder: Path) -> None:
    site = site_of(folder)
    site.sections["state"]["directory"] = "/nowhere"
    with in_container(root, site, "none", ("page",), until="") as service:
        deadline = time.monotonic() + 60
        while "showing the page" not in service.said and time.monotonic() < deadline:
            time.sleep(0.05)  # the process says it once
        assert service.get("/", service.page)[0] == 451


def test_the_accounts_are_those_that_pods_name(root: Path) -> None:
    """As deploy/helm has them by number; `edge.user` is looked up by name."""
    accounts = [line.split(":")[:4] for line in (root / "etc/passwd").read_text().splitlines()]
    assert ["blocklist-resolver", "x", *[str(contained.ACCOUNT)] * 2] in accounts
    assert ["blocklist-edge", "x", *[str(contained.EDGE)] * 2] in accounts
    groups = (line.split(":") for line in (root / "etc/group").read_text().splitlines())
    assert {name: members for name, _, _, members in groups if "resolver" in members} == {
        "blocklist": "blocklist-resolver",
        "blocklist-edge": "blocklist-resolver",
    }


class Pod:
    """A site whose edge runs in a container of its own: it sees `folder`, which has what a pod's volumes would.

    configuration: as a ConfigMap is mounted. tls: the volume of a Secret. run: the folder of the socket.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder / "volumes"
        for name in ("configuration", "tls", "run"):
            (self.folder / name).mkdir(parents=True)
        self._authority, self._secret = trustme.CA(), Secret(self.folder / "tls")
        self._authority.cert_pem.write_to_path(str(site.folder / "ca.pem"))
        site.set(
            "edge", socket=str(self.folder / "run" / "queries"), name=edges.NAME, tls=[f"{HOST}:853"],
            https=[f"{HOST}:443"], certificate=str(self.folder / "tls" / "tls.crt"),
            key=str(self.folder / "tls" / "tls.key"),
        )  # fmt: skip
        self.place = edges.Place(folder=site.folder, ports={"tls": 853, "https": 443}, ca=site.folder / "ca.pem")

    def renew(self) -> None:
        """Put another pair into the Secret, as kubelet does: 0440, of the pod's group."""
        made = self._authority.issue_cert(edges.NAME)
        chain = b"".join(one.bytes() for one in made.cert_chain_pems)
        self._secret.write(tls_crt=chain, tls_key=made.private_key_pem.bytes())
        for path in (self.folder / "tls").rglob("*"):
            os.chown(path, 0, contained.ACCOUNT, follow_symlinks=False)

    @contextmanager
    def edge(self, root: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """Its container; it has to end with 0."""
        copy = self.folder / "configuration" / "resolver.toml"
        copy.write_bytes(self.site.config.read_bytes())
        where = (OF_DEBIAN, contained.__file__, root, self.folder, "bind", "edge")
        command = (*where, COMMAND, "edge", "--config", copy, "--keep", "2")
        with open(self.site.folder / "edge-said", "ab") as out:
            path = {"PATH": os.environ["PATH"]}
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=path
            )
        try:
            yield process
        finally:
            status = stop(process)
        assert status == 0, edges.said(self.place)

    def until_said(self, words: str, times: int) -> None:
        """Wait until the edge's log has a text so often."""
        wait_for(lambda: edges.said(self.place).count(words) >= times, words, START_S)


def test_an_edge_in_a_container_of_its_own_serves_and_takes_nothing_down(root: Path, folder: Path) -> None:
    """The pod of deploy/helm with `edge.enabled`: its accounts, mounts, ports, and the Secret before and after."""
    site = site_of(folder)
    pod = Pod(site)
    site.publish(["blocked.test"])
    blocked = f"{PAGE_V4} EDE 4"
    with own_network(), in_container(root, site, "none") as service, pod.edge(root) as keeper:
        # The Secret is not there yet: the container stays, and UDP is answered.
        pod.until_said("there is no such file", 2)
        assert asked(site.dns, "blocked.test") == blocked
        assert keeper.poll() is None
        pod.renew()
        pod.until_said("takes queries", 2)
        with closing(edges.Dot(pod.place, HOST)) as client, closing(edges.Http2(pod.place, HOST)) as over_https:
            query = query_for("blocked.test")
            assert came(client.ask(query)) == blocked
            assert came(over_https.ask(query)) == blocked
            wait_for(lambda: service.metric("edges_connected") == 2, "both edges are connected", START_S)
            # Nobody but them: the socket is of their group.
            found = (pod.folder / "run" / "queries").stat()
            assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o660, contained.ACCOUNT, contained.EDGE)
            for pid in {one for one in descendants(keeper.pid) if b"resolver.edge.process" in command_of(one)}:
                held = fields_of(pid)
                assert set(held["Uid"].split()) == {str(contained.EDGE)}
                assert {held[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {NO_CAPABILITY}
                assert (held["NoNewPrivs"], held["Seccomp"]) == ("1", "2")
                assert mounted_read_only(pid)
                assert not Path(f"/proc/{pid}/root{site.folder}/state").exists()
            before = edges_shown(pod.place)
            pod.renew()
            pod.until_said("in use until", 2)
            assert edges_shown(pod.place) != before
            assert came(client.ask(query)) == blocked, "a connection that was there goes on"
        for pid in descendants(keeper.pid):
            if b"resolver.edge.process" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
        assert asked(site.dns, "blocked.test") == blocked
        assert keeper.poll() is None
        pod.until_said("takes queries", 4)
        with closing(edges.Dot(pod.place, HOST)) as client:
            assert came(client.ask(query)) == blocked


def edges_shown(place: edges.Place) -> bytes | None:
    """The certificate that a new connection gets."""
    with edges.connected(place, "tls", "dot") as one:
        return one.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def nsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The upstream with real data of listed names."""
    zones, _ = leak_rows.zones(time.time())
    path = next((one for one in ("/usr/sbin/nsd", "/usr/bin/nsd") if Path(one).exists()), "")
    if not path:
        pytest.fail("nsd is not installed: `make test-image` installs it")
    with servers.nsd(tmp_path_factory.mktemp("upstream") / "nsd", zones, path=path) as one:
        yield one


def test_the_leak_table_holds_in_the_image(root: Path, folder: Path, nsd: Server) -> None:
    """Every row, every way of asking, from outside of the container."""
    site = site_of(folder, [nsd.address])
    site.set("limits", queries_per_second=1_000_000, distinct_blocked=0)
    site.lists = [list_of(site.authority.folder)]
    site.authority.serial = SERIAL - 1
    site.publish(LISTED)
    asked_for = 0
    with in_container(root, site, "none") as service:
        for row in ROWS:
            found = {outcome_of(transport, service.dns, query) for transport, query in ways_of(row)}
            assert all(is_expected(one, row, "nsd") for one in found), (row.what, found)
            asked_for += len(list(ways_of(row)))
        written = [path for path in folder.rglob("*") if path.is_file() and "authority" not in path.parts]
        listed = [entry.lstrip("=!").encode() for entry in LISTED]
        for path in written:
            data = path.read_bytes().lower()
            assert not any(word in data for word in listed), path.name
    assert {row.outcome for row in ROWS} > {NO_LEAK}
    print(f"leak table: {len(ROWS)} rows, {asked_for} questions over {' and '.join(TRANSPORTS)}, from the image")
