-- The blocklist: /etc/powerdns/recursor.lua, mode 0640, group pdns: it holds the TSIG secret.

-- Yours: the secret is that of [[export.zone]] keys.
local export = "192.0.2.10:5310"
local secret = "REPLACE-ME"

rpzPrimary(export, "rpz.isp.example", {
  tsigname = "blocklist",
  tsigalgo = "hmac-sha256",
  tsigsecret = secret,
  -- It takes no NOTIFY before 5.1: it asks for the serial this often, in seconds.
  refresh = 10,
  -- The whole list in plaintext, so that a start does not wait: /var/lib/pdns-blocklist has mode 0700 and is pdns'.
  seedFile = "/var/lib/pdns-blocklist/rpz.zone",
  dumpFile = "/var/lib/pdns-blocklist/rpz.zone",
  extendedErrorCode = 4,
  includeSOA = false,
  maxReceivedMBytes = 512,
})
