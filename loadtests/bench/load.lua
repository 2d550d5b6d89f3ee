-- The client: one POST again and again, or one that is different each time (BENCH_DISTINCT, BENCH_BATCHES, BENCH_WRONG_KEYS). Ends with a line of JSON for the harness.

local function shell(name) return os.getenv("BENCH_" .. name) end

wrk.method = "POST"
wrk.path = shell("PATH")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = shell("KEY")

local file = assert(io.open(shell("BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

-- A row of the iris model, different each time, with 6 decimals a column.
local function distinct_body()
  return string.format('{"model_name": "%s", "features": [%.6f, %.6f, %.6f, %.6f]}', shell("DISTINCT"),
    4 + 4 * math.random(), 2 + 2 * math.random(), 1 + 6 * math.random(), 3 * math.random())
end

-- Few rows or many, no row twice.
local function batch_body()
  local rows = {}
  for place = 1, math.random(({1, 10, 100})[math.random(3)]) do
    rows[place] = string.format("[%.6f, %.6f, %.6f, %.6f]",
      4 + 4 * math.random(), 2 + 2 * math.random(), 1 + 6 * math.random(), 3 * math.random())
  end
  return '{"inputs": [' .. table.concat(rows, ", ") .. "]}"
end

-- Keys of the right form that nobody has, a line each.
local function lines(name)
  local found = {}
  for line in io.lines(name) do found[#found + 1] = line end
  return found
end

function init()
  math.randomseed(tonumber(shell("SEED")))
  if shell("DISTINCT") then
    request = function() return wrk.format(nil, nil, nil, distinct_body()) end
  elseif shell("BATCHES") then
    request = function() return wrk.format(nil, nil, nil, batch_body()) end
  elseif shell("WRONG_KEYS") then
    local keys = lines(shell("WRONG_KEYS"))
    request = function()
      wrk.headers["X-API-Key"] = keys[math.random(#keys)]
      return wrk.format()
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_us": %.1f, "p90_us": %.1f, "p99_us": %.1f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
