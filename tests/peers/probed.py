"""Real resolvers of Debian's with a list of one entry, before the doctor's probe zone, for tests/peers/test_doctor.py.

Rules:
- Each forwards the probe zone to a responder of the doctor's, and blocks its entry with the page's addresses: BIND,
  Unbound, Recursor and Knot by a response policy zone, dnsdist and dnsmasq by their own rules.
- A resolver is started as a beginner would set it up, or `hardened`: with the lines that the doctor prints.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.running import HOST, PAGE_V4, PAGE_V6, free_ports
from tests.peers.servers import Server, running

ZONE = "doctor.example.com"
ENTRY = f"listed.{ZONE}"
POLICY = "rpz.example.com"

_RPZ = f"""$TTL 60
@ SOA localhost. nobody.invalid. 7 3600 600 86400 60
@ NS localhost.
{ENTRY} A {PAGE_V4}
{ENTRY} AAAA {PAGE_V6}
*.{ENTRY} A {PAGE_V4}
*.{ENTRY} AAAA {PAGE_V6}
"""
_BIND = """
options {{
  directory "{folder}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port {port} {{ {host}; }}; listen-on-v6 {{ none; }};
  forward only; forwarders {{ {host} port {upstream}; }};
  recursion yes; dnssec-validation no; empty-zones-enable no; {options}
  response-policy {{ zone "{policy}" {zone_options}; }} {policy_options};
}};
zone "{policy}" {{ type primary; file "{folder}/rpz"; {zone} }};
controls {{ }};
{doors}
"""
BIND_DEFAULT = {"options": "", "zone_options": "", "policy_options": "", "zone": "", "doors": ""}
BIND_HARDENED = {
    "options": "minimal-responses yes; version none; hostname none; server-id none; allow-query { 127.0.0.1; };",
    "zone_options": "add-soa no",
    "policy_options": "break-dnssec yes recursive-only no",
    "zone": "allow-query { none; }; allow-transfer { none; };",
    "doors": "",
}
_UNBOUND = """
server:
  interface: {host}@{port}
{server}  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  module-config: "respip validator iterator"
rpz:
  name: "{policy}"
  zonefile: "{folder}/rpz"
forward-zone:
  name: "."
  forward-addr: {host}@{upstream}
remote-control:
  control-enable: no
"""
_RECURSOR = """
local-address={host}
local-port={port}
threads=1
forward-zones-recurse=.={host}:{upstream}
dont-query=
socket-dir=.
lua-config-file={folder}/rpz.lua
{more}
security-poll-suffix=
dnssec=process-no-validate
setuid=
setgid=
export-etc-hosts=no
serve-rfc1918=no
quiet=yes
write-pid=no
"""
_KNOT = """
net.listen('{host}', {port}, {{ kind = 'dns' }})
{view}trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
policy.add(policy.rpz(policy.DENY, '{folder}/rpz', false))
policy.add(policy.all(policy.STUB({{'{host}@{upstream}'}})))
"""
_DNSDIST = """
setLocal('{host}:{port}')
setACL({{{clients}}})
setSecurityPollSuffix('')
newServer({{address='{host}:{upstream}', healthCheckMode='up'}})
names = newSuffixMatchNode()
names:add(newDNSName('{entry}.'))
{rules}
"""
DNSDIST_V4 = "addAction(SuffixMatchNodeRule(names), SpoofAction('{v4}'))"
DNSDIST_HARDENED = """
addAction(AndRule({{SuffixMatchNodeRule(names), OrRule({{QTypeRule(1), QTypeRule(28)}})}}),
  SpoofAction({{'{v4}', '{v6}'}}))
addAction(SuffixMatchNodeRule(names), NegativeAndSOAAction(false, '{entry}.', 60, 'localhost.', 'nobody.invalid.',
  1, 3600, 600, 86400, 60))
addAction(QClassRule(DNSClass.CHAOS), RCodeAction(DNSRCode.REFUSED))
"""
UNBOUND_DEFAULT = "  access-control: 127.0.0.0/8 allow\n"
UNBOUND_HARDENED = """
  access-control: 127.0.0.0/8 refuse
  access-control: 127.0.0.1/32 allow
  hide-version: yes
  hide-identity: yes
"""
RECURSOR_HARDENED = """
allow-from=127.0.0.1/32
disable-packetcache=yes
extended-resolution-errors=yes
version-string=
server-id=disabled
"""
KNOT_HARDENED = """
modules.load('view')
view:addr('127.0.0.1/32', policy.all(policy.PASS))
view:addr('0.0.0.0/0', policy.all(policy.REFUSE))
"""
PROGRAMS = {
    "bind": "named",
    "bind-hardened": "named",
    "unbound": "unbound",
    "unbound-hardened": "unbound",
    "recursor": "pdns_recursor",
    "recursor-hardened": "pdns_recursor",
    "knot": "kresd",
    "knot-hardened": "kresd",
    "dnsdist": "dnsdist",
    "dnsdist-hardened": "dnsdist",
    "dnsmasq": "dnsmasq",
}


@contextmanager
def resolver(kind: str, folder: Path, upstream: int, path: str, more: dict[str, str] | None = None) -> Iterator[Server]:
    """A resolver of PROGRAMS that asks `upstream`; `more`: other options of BIND, as BIND_DEFAULT has them."""
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    product, _, hardened = kind.partition("-")
    (folder / "rpz").write_text(_RPZ if product not in ("recursor", "knot") else f"$ORIGIN {POLICY}.\n{_RPZ}")
    said = {"host": HOST, "port": port, "folder": folder, "upstream": upstream, "policy": POLICY, "entry": ENTRY}
    config = folder / "config"
    if product == "bind":
        options = more or (BIND_HARDENED if hardened else BIND_DEFAULT)
        config.write_text(_BIND.format(**said, **options))
        command = [path, "-g", "-c", str(config)]
    elif product == "unbound":
        server = UNBOUND_HARDENED if hardened else UNBOUND_DEFAULT
        config.write_text(_UNBOUND.format(**said, server=server))
        command = [path, "-d", "-c", str(config)]
    elif product == "recursor":
        (folder / "recursor.conf").write_text(_RECURSOR.format(**said, more=RECURSOR_HARDENED if hardened else ""))
        error = ", extendedErrorCode=16" if hardened else ""
        (folder / "rpz.lua").write_text(f"rpzFile('{folder}/rpz', {{policyName='list'{error}}})\n")
        command = [path, f"--config-dir={folder}"]
    elif product == "knot":
        config.write_text(_KNOT.format(**said, view=KNOT_HARDENED if hardened else ""))
        command = [path, "-n", "-q", "-c", str(config), str(folder)]
    elif product == "dnsdist":
        rules = DNSDIST_HARDENED if hardened else DNSDIST_V4
        clients = "'127.0.0.1/32'" if hardened else "'127.0.0.0/8'"
        rules = rules.format(v4=PAGE_V4, v6=PAGE_V6, entry=ENTRY)
        config.write_text(_DNSDIST.format(**said, clients=clients, rules=rules))
        command = [path, "--supervised", "--disable-syslog", "-C", str(config)]
    else:
        command = [path, "--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--no-poll",
                   "--conf-file=/dev/null", "--bind-interfaces", "--pid-file=", "--user=", f"--port={port}",
                   f"--listen-address={HOST}", f"--server={HOST}#{upstream}", f"--address=/{ENTRY}/{PAGE_V4}",
                   f"--address=/{ENTRY}/{PAGE_V6}"]  # fmt: skip
    with running(command, folder, port, ZONE) as server:
        yield server
