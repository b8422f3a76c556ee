-- Our policy inside PowerDNS Recursor: /etc/powerdns/policy.lua. README.md beside this file, "Our policy inside the
-- Recursor", says what it does.

-- Yours: the service's [plugin] folder, and its digest key, readable by the Recursor's account alone.
local folder, key = "/run/blocklist-resolver-plugin", "/etc/powerdns/blocklist.key"
-- python3.13 on Debian 13.
local code = "/usr/lib/blocklist-resolver/lib/python3.11/site-packages/resolver/plugin/lua/blocklist.lua"

-- It sets gettag_ffi, preresolve and postresolve: a script of yours that has one of these replaces the policy.
local blocklist = dofile(code)
blocklist.recursor(blocklist.open(folder, key))
