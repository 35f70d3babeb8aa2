-- For wrk: each request comes with the next of the cookies in a file, one a line.

local requests = {}
local at = 0

function init(args)
  for cookie in io.lines(args[1]) do
    wrk.headers["Cookie"] = "theme=dark; " .. cookie .. "; lang=en"
    requests[#requests + 1] = wrk.format()
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary)
  local errors = summary.errors
  print(string.format(
    "requests=%d microseconds=%d connect=%d read=%d write=%d status=%d timeout=%d",
    summary.requests, summary.duration,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
