-- API keys and session cookies become short access tokens, which everything behind this filter knows how to check.
-- All of this is kept by each worker for itself; a token in hand costs no call.

local LOOPBACK = "loopback"  -- The gateway's way to its own transcoder.
local EXCHANGE_MILLISECONDS = 2000
local OUTAGE_SECONDS = 5   -- How long a token in hand is used before auth is asked again.

-- `renewed_at` is the part of a token's life after which it is renewed, `refused_seconds` how long what was
-- refused is not asked about again, `most_guesses` how many unknown ones an address may show in a minute.
local KEYS = {
  kind = "key", form = "^nvk_[%w_-]+$", path = "/v1/auth/api-key-token", field = "key",
  tokens = memory(1000), renewed_at = 0.8, refused = memory(1000), refused_seconds = 5,
  guesses = memory(1000), most_guesses = 30,
}
local SESSIONS = {
  kind = "session", form = "^nvs_[%w_-]+$", path = "/v1/auth/session-token", field = "cookie",
  tokens = memory(5000), renewed_at = 0.5,  -- Early: a show goes on for the other half when auth is away.
  refused = memory(5000), refused_seconds = 60,  -- What has ended never comes back.
  guesses = memory(1000), most_guesses = 120,  -- A whole theatre may be behind one address.
}

-- Cookies of earlier releases hold an access token, and are left to those who check it.
local function session_in(cookies)
  for name, value in (cookies or ""):gmatch("([^%s;=]+)=([^%s;]*)") do
    if name == COOKIE and value:find("^nvs_") then return value end
  end
end

-- A key in either header, or else a session's cookie; an access token beside them says more clearly
-- who is calling.
local function shown_in(headers)
  local authorization = headers:get("authorization")
  if authorization and authorization:find("^Bearer ") then
    return KEYS, authorization:match("^Bearer (nvk_%S*)$")
  end
  local key = not authorization and headers:get("x-api-key")
  if key then return KEYS, key end
  return SESSIONS, session_in(headers:get("cookie"))
end

local function has_form(sort, shown)
  return #shown <= 128 and shown:find(sort.form) ~= nil
end

local function guesses_of(handle, sort, now)
  local address = (handle:streamInfo():dynamicMetadata():get("newvisions") or {}).network or ""  -- Of edge.lua.
  local minute = now - now % 60
  local found = sort.guesses.get(address)
  if not found or found.minute ~= minute then
    found = {minute = minute, count = 0, asked = {}}
    sort.guesses.put(address, found)
  end
  return found
end

-- Counted before there is an answer, or as many as come at once would be let through. What is shown twice is
-- one guess: a server that starts sends many requests with its key.
local function begin_guess(guessed, shown)
  if guessed.asked[shown] then return end
  guessed.asked[shown], guessed.count = true, guessed.count + 1
end

-- Only what auth refused stays counted, and what got no answer because its client left: nobody comes here then.
local function end_guess(guessed, shown, status)
  if guessed.asked[shown] and status ~= "401" then guessed.count = guessed.count - 1 end
  guessed.asked[shown] = nil
end

local function exchange(handle, sort, shown)
  local headers, body = handle:httpCall(LOOPBACK, {
    [":method"] = "POST",
    [":path"] = sort.path,
    [":authority"] = LOOPBACK,
    ["content-type"] = "application/json",
    ["x-request-id"] = handle:headers():get("x-request-id"),
  }, '{"' .. sort.field .. '":"' .. shown .. '"}', EXCHANGE_MILLISECONDS)
  local status = headers[":status"]
  if status ~= "200" then return status end
  return status, body:match('"access_token":%s*"([%w._-]+)"'), tonumber(body:match('"expires_in":%s*(%d+)'))
end

-- A token for what was shown, or the status that refuses it.
local function token_for(handle, sort, shown, held, now)
  if held and now < held.renew_at then return held.token end
  -- One request renews; the others go on with what there is.
  if held then held.renew_at = now + OUTAGE_SECONDS end
  local status, token, seconds = exchange(handle, sort, shown)
  if token and seconds then
    sort.tokens.put(shown, {token = token, renew_at = now + seconds * sort.renewed_at, ends_at = now + seconds * 0.95})
    return token
  end
  if status == "401" then
    sort.tokens.forget(shown)
    sort.refused.put(shown, now + sort.refused_seconds)
    return nil, "401"
  end
  if held then return held.token end
  return nil, "503"
end

local function refuse(handle, sort, status, headers)
  headers[":status"] = status
  handle:streamInfo():dynamicMetadata():set("newvisions", "refused", sort.kind)
  handle:respond(headers, "")  -- The words are those of replies.py.
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local sort, shown = shown_in(headers)
  headers:remove("x-api-key")
  if not shown or not handle:metadata():get("needs_token") then return end
  local now = os.time()
  if not has_form(sort, shown) or now < (sort.refused.get(shown) or 0) then
    return refuse(handle, sort, "401", {["www-authenticate"] = "Bearer"})
  end
  local held, guessed = sort.tokens.get(shown), guesses_of(handle, sort, now)
  -- A token that has ended is as good as none: whoever comes while it is renewed must not be given it.
  if held and now >= held.ends_at then held = nil end
  -- Others behind the same address may go on with what they have shown before.
  if guessed.count >= sort.most_guesses and not held and not guessed.asked[shown] then
    local seconds = guessed.minute + 60 - now
    return refuse(handle, sort, "429", {
      ["retry-after"] = tostring(seconds),
      ["ratelimit-policy"] = string.format('"minute";q=%d;w=60', sort.most_guesses),
      ["ratelimit"] = string.format('"minute";r=0;t=%d', seconds),
    })
  end
  if not held then begin_guess(guessed, shown) end
  local token, status = token_for(handle, sort, shown, held, now)
  end_guess(guessed, shown, status)
  if status == "401" then
    return refuse(handle, sort, "401", {["www-authenticate"] = "Bearer"})
  end
  if not token then return refuse(handle, sort, "503", {}) end
  -- Fetched again: what was fetched before a call is gone after it.
  headers = handle:headers()
  headers:replace("authorization", "Bearer " .. token)
  headers:remove("cookie")
end
