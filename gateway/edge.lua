-- The one error shape, and the few headers that no declarative filter can compute.
-- A fault in here is logged, and the message passes unchanged.

local OWN = "newvisions"  -- Our corner of the request's dynamic metadata.
-- Its quotes are not escaped, so no text inside a JSON string can look like it.
local API_ERROR = '{"@type":"type.googleapis.com/newvisions.edge.v1.ApiError",'
local AGAIN = "Try again in a few seconds."
local SAME_KEY = "Try again; send the same Idempotency-Key to get the same result."

-- gRPC's own failures, which carry no ApiError, by the status that the transcoder chose.
local GRPC = {
  ["429"] = {413, "TOO_LARGE", "The request is larger than the service takes.", "Send a smaller request."},
  ["501"] = {404, "ROUTE_NOT_FOUND", "There is no such route here.", "Check the path and the method; the paths begin with /v1."},
  ["499"] = {504, "DEADLINE_EXCEEDED", "The request was given up before it was answered.", SAME_KEY},
  ["503"] = {503, "SERVICE_UNAVAILABLE", "The service cannot be reached right now.", AGAIN},
  ["504"] = {504, "DEADLINE_EXCEEDED", "The request took too long.", SAME_KEY},
}
-- What a Python service says when a text is not UTF-8: the transcoder does not look.
local NOT_TEXT = "google.protobuf.message.DecodeError"
local CRASHED = {500, "INTERNAL", "Something went wrong.", "Try again; if it goes on, report the request_id."}

-- What the transcoder calls the types of fields.
local TYPES = {
  BOOL = "true or false", STRING = "text", BYTES = "base64", ENUM = "one of its names",
  DOUBLE = "a number", FLOAT = "a number",
}

-- Refusing costs a service nearly as much as beginning does, and takes it from those who are inside. So once it
-- refused a few in one moment, its worker here refuses the rest of the moment, in the same words. After such a
-- moment one refusal is enough in the next: it is a crowd, and not one replica of several that is full.
local BUSY = "PERFORM_BUSY"
local MOMENT_MILLISECONDS, REFUSALS = 250, 3
local moment, refused, enough = 0, 0, REFUSALS
-- What it let in, it lets in again: for what is under way or done the service needs no place.
local let_in = memory(1000)

local function remember(handle, key, value)
  handle:streamInfo():dynamicMetadata():set(OWN, key, value)
end

local function remembered(handle, key)
  return (handle:streamInfo():dynamicMetadata():get(OWN) or {})[key]
end

-- Ids end in logs and in JSON: letters, digits and little else, and not too many.
local function clean_id(handle, headers)
  local given = headers:get("x-request-id") or ""
  local clean = given:gsub("[^%w%-_.:]", ""):sub(1, 128)
  if clean == "" then clean = string.format("%d-%06d", os.time(), math.random(0, 999999)) end
  if clean ~= given then headers:replace("x-request-id", clean) end
  remember(handle, "request_id", clean)
end

-- Whose calls are counted together: one customer has a whole /64 of IPv6, and proxies may write IPv4 as IPv6.
-- As text of Envoy's: "192.0.2.1:80" or "[2001:db8::1]:80", in small letters and as short as can be.
local function network_of(address)
  local six = address:match("^%[([%x:.]+)")
  if not six then return (address:gsub(":%d+$", "")) end
  local four = six:match("^::ffff:(%d+%.%d+%.%d+%.%d+)$")
  if four then return four end
  local _, groups = six:gsub("[^:]+", "")
  local whole = six:gsub("::", ":" .. ("0:"):rep(8 - groups))
  return whole:match("%x+:%x+:%x+:%x+") .. "::/64"
end

local function prefer_bearer(headers)
  local scheme, token = (headers:get("authorization") or ""):match("^%s*(%a+)%s+(%S+)%s*$")
  if not scheme or scheme:lower() ~= "bearer" then return end
  headers:replace("authorization", "Bearer " .. token)
  -- Every token of a request would have to be good; a forgotten cookie must not spoil this one.
  headers:remove("cookie")
end

-- A page of somebody else must not act in the name of who looks at it, with their cookie or by
-- signing them in as another. Only browsers say where a request comes from, and pages cannot change it.
local function comes_from_elsewhere(headers)
  local method, origin = headers:get(":method"), headers:get("origin")
  if not origin or method == "GET" or method == "HEAD" or method == "OPTIONS" then return false end
  if (headers:get("authorization") or ""):find("^Bearer ") or ORIGINS[origin] then return false end
  local host = origin:match("^https?://([^/]+)$")
  return not host or host:lower() ~= (headers:get(":authority") or ""):lower()
end

local function look_at_the_time(handle)
  local now = math.floor(handle:timestamp(EnvoyTimestampResolution.MILLISECOND) / MOMENT_MILLISECONDS)
  if now == moment then return end
  enough = now == moment + 1 and refused >= enough and 1 or REFUSALS
  moment, refused = now, 0
end

-- By its caller and its key. The end of a token tells callers apart, and nobody can sign in with it.
local function performance_in(headers)
  local key = headers:get("idempotency-key") or ""
  local shown = headers:get("authorization") or headers:get("x-api-key") or headers:get("cookie")
  if #key > 0 and #key <= 255 and shown then return shown:sub(-32) .. " " .. key end
end

local function crowded_out(handle, headers)
  look_at_the_time(handle)
  local performance = performance_in(headers)
  if refused >= enough and not let_in.get(performance) then return true end
  if performance then
    let_in.put(performance, true)
    remember(handle, "performance", performance)
  end
  return false
end

local function count_refusal(handle)
  look_at_the_time(handle)
  refused = refused + 1
end

function envoy_on_request(handle)
  local headers = handle:headers()
  clean_id(handle, headers)
  remember(handle, "network", network_of(handle:streamInfo():downstreamRemoteAddress() or ""))
  prefer_bearer(headers)
  if comes_from_elsewhere(headers) then
    handle:respond({[":status"] = "403"}, "")
    return
  end
  if handle:metadata():get("has_places") and crowded_out(handle, headers) then
    remember(handle, "refused", "crowd")
    handle:respond({[":status"] = "503"}, "")
    return
  end
  -- Players ask how long a memo is before they ask for it. The services know no HEAD.
  if headers:get(":method") == "HEAD" then
    remember(handle, "head", true)
    headers:replace(":method", "GET")
    handle:clearRouteCache()
  end
  -- The transcoder would let native gRPC through as it is, past the HTTP rules.
  if (headers:get("content-type") or ""):lower():find("^application/grpc") then
    handle:respond({[":status"] = "404"}, "")
  end
end

local function error_json(handle, code, message, action)
  return string.format(
    '{"error":"%s","message":"%s","action":"%s","detail":"%s","request_id":"%s"}',
    code, message, action, message, remembered(handle, "request_id") or "")
end

-- The service's own error: everything of the ApiError but its last field, which is the status.
local function own_error(body)
  local _, last = body:find(API_ERROR, 1, true)
  if not last then return nil end
  local json, status = ("{" .. body:sub(last + 1, -3)):match('^(.*),"httpStatus":(%d+)}$')
  if not status then return nil end
  return json .. "}", status, body:match('"retryDelay":"(%d+)')
end

-- The transcoder's words name our types; say which field it was, and no more.
local function parse_error(body)
  local unknown = body:match('^Could not find field "([%w_.]+)"')
  if unknown then return "The parameter " .. unknown .. " is not known." end
  local field, kind = body:match("^([%w_.%[%]]+): invalid value .* for type TYPE_(%u+)")
  if field then return field .. ": must be " .. (TYPES[kind] or "a whole number") .. "." end
  if body:find("Root element", 1, true) then return "The body must be a JSON object." end
  if body:find("invalid value", 1, true) or body:find("Proto field", 1, true) then
    return "A value in the body has the wrong type."
  end
  return "The body is not valid JSON."
end

-- The headers of the answer to a GET, its length included, without the body.
local function headers_only(handle)
  local buffer = handle:body(true)
  local length = buffer:length()
  local headers = handle:headers()
  -- Compressed, nothing becomes twenty bytes, which the client would take for the next answer.
  headers:replace("cache-control", (headers:get("cache-control") or "no-store") .. ", no-transform")
  -- What the gateway answers by itself comes without a body and with its length, which setBytes would change.
  if length == 0 then return end
  buffer:setBytes("")
  headers:replace("content-length", tostring(length))
end

-- The transcoder leaves out what is unset; clients of an earlier server look for null. A name inside a text
-- has a backslash before its closing quote, so it is not taken for one of the answer's own.
local function with_nulls(handle, names)
  local buffer = handle:body(true)
  local body = buffer:getBytes(0, buffer:length())
  local missing = {}
  for _, name in ipairs(names) do
    if not body:find('"' .. name .. '":', 1, true) then table.insert(missing, '"' .. name .. '":null') end
  end
  local rest = body:match("^{(.*)}$")
  if not rest or #missing == 0 then return end
  if rest ~= "" then table.insert(missing, 1, rest) end
  buffer:setBytes("{" .. table.concat(missing, ",") .. "}")
end

local function shaped(handle, body)
  local headers = handle:headers()
  local json, status, retry_after = own_error(body)
  if json then return json, status, retry_after end
  local sentence = headers:get("x-parse-error") and parse_error(body)
  if body:sub(1, 10) == '{"code":2,' and body:find(NOT_TEXT, 1, true) then
    sentence = "The request contains text that is not UTF-8."
  end
  if sentence then
    return error_json(handle, "INVALID_REQUEST", sentence, "Correct the request and send it again."), "400"
  end
  if body:sub(1, 8) == '{"code":' then
    local found = GRPC[headers:get(":status")] or CRASHED
    local seconds = found[1] == 503 and "2" or nil
    return error_json(handle, found[2], found[3], found[4]), tostring(found[1]), seconds
  end
  return nil
end

-- Who refuses by a count of its own says how long to wait, whatever is left in the bucket at the gateway:
-- one more try after that.
local function name_wait(headers)
  local seconds = tonumber(headers:get("retry-after") or "")
  if not seconds or (headers:get("ratelimit") or ""):find(";r=0;", 1, true) then return end
  headers:replace("ratelimit-policy", string.format('"wait";q=1;w=%d', seconds))
  headers:replace("ratelimit", string.format('"wait";r=0;t=%d', seconds))
end

local function shape_error(handle)
  local buffer = handle:body(true)
  local body = buffer:getBytes(0, buffer:length())
  local json, status, retry_after = shaped(handle, body)
  local code = (json or body):match('"error":"([%u%d_]+)"') or ""
  remember(handle, "error", code)
  -- What it refused here itself has no upstream's JSON. Speeches have places of their own.
  if json and code == BUSY and handle:metadata():get("has_places") then count_refusal(handle) end
  -- Fetched after body(), which waits: what was fetched before is gone.
  local headers = handle:headers()
  headers:remove("x-parse-error")
  if json then
    headers:replace(":status", status)
    headers:replace("content-type", "application/json")
    if retry_after then headers:replace("retry-after", retry_after) end
    buffer:setBytes(json)
  end
  local told = headers:get(":status")
  if told == "429" then name_wait(headers) end
  -- Nothing of it is under way, and strangers must not crowd the memory.
  if code == BUSY or told == "401" or told == "429" then let_in.forget(remembered(handle, "performance")) end
end

-- Envoy's names for the rate limit become those of the IETF draft. Buckets fill steadily, in a minute.
local function rate_limit(headers)
  local limit = tonumber((headers:get("x-ratelimit-limit") or ""):match("%d+"))
  local left = tonumber(headers:get("x-ratelimit-remaining") or "")
  for _, name in ipairs({"limit", "remaining", "reset"}) do headers:remove("x-ratelimit-" .. name) end
  if not limit or not left then return end
  local seconds = math.ceil((limit - left) * 60 / limit)
  headers:replace("ratelimit-policy", string.format('"minute";q=%d;w=60', limit))
  headers:replace("ratelimit", string.format('"minute";r=%d;t=%d', left, seconds))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  rate_limit(headers)
  headers:remove("x-envoy-upstream-healthchecked-cluster")
  -- Already refused; all it says is in its grpc-status.
  if headers:get("content-type") == "application/grpc" then return end
  for _, name in ipairs({"status", "message", "status-details-bin", "accept-encoding"}) do
    headers:remove("grpc-" .. name)
  end
  local status = headers:get("x-http-status") or ""
  headers:remove("x-http-status")
  if status:find("^2%d%d$") and headers:get(":status") == "200" then headers:replace(":status", status) end
  -- Good answers to a GET are never streams; those to a POST may be, and their bodies are never touched.
  if tonumber(headers:get(":status")) >= 400 then
    shape_error(handle)
  else
    local names = handle:metadata():get("null_when_unset")
    if names then with_nulls(handle, names) end
  end
  if remembered(handle, "head") then headers_only(handle) end
end
