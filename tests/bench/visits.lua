-- Looks into every response that wrk gets, and says at the end what came, as a line of JSON.
-- Arguments: the status that each must have, and a file with its body.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local file = assert(io.open(arguments[2], "rb"))
  status_wanted, body_wanted = tonumber(arguments[1]), file:read("*a")
  right, seen = 0, 0
  file:close()
end

function response(status, headers, body)
  seen = seen + 1
  if status == status_wanted and body == body_wanted then
    right = right + 1
  end
end

function done(summary)
  local failed, total, good = summary.errors, 0, 0
  for _, thread in ipairs(threads) do
    total, good = total + thread:get("seen"), good + thread:get("right")
  end
  io.write(string.format('{"visits": %d, "wrong": %d, "failed": %d, "seconds": %.6f}\n', total, total - good,
    failed.connect + failed.read + failed.write + failed.timeout, summary.duration / 1e6))
end
