-- API keys become short access tokens, which everything behind this filter knows how to check.
-- All of this is kept by each worker for itself; a token in hand costs no call.

local LOOPBACK = "loopback"  -- The gateway's way to its own transcoder.
local EXCHANGE_MILLISECONDS = 2000
local MOST_KEPT = 1000
local REFUSED_SECONDS = 5  -- How long a key that was refused is not asked about again.
local OUTAGE_SECONDS = 5   -- How long a token in hand is used before auth is asked again.
local MOST_GUESSES = 30    -- Unknown keys from one address in a minute.

-- Keeps at most twice `most` things; those not asked for in a while are forgotten first.
local function memory(most)
  local young, old, count = {}, {}, 0
  local kept = {}
  function kept.put(name, thing)
    if young[name] == nil then
      if count >= most then young, old, count = {}, young, 0 end
      count = count + 1
    end
    young[name] = thing
  end
  function kept.get(name)
    if young[name] == nil and old[name] ~= nil then kept.put(name, old[name]) end
    return young[name]
  end
  function kept.forget(name) young[name], old[name] = nil, nil end
  return kept
end

local tokens, refused, guesses = memory(MOST_KEPT), memory(MOST_KEPT), memory(MOST_KEPT)

-- A key in either header; an access token beside it says more clearly who is calling.
local function key_of(headers)
  local authorization = headers:get("authorization")
  if authorization then return authorization:match("^Bearer (nvk_%S*)$") end
  return headers:get("x-api-key")
end

local function has_form(key)
  return #key <= 128 and key:find("^nvk_[%w_-]+$") ~= nil
end

local function guesses_of(handle, now)
  local address = (handle:streamInfo():downstreamRemoteAddress() or ""):gsub(":%d+$", "")
  local minute = now - now % 60
  local found = guesses.get(address)
  if not found or found.minute ~= minute then
    found = {minute = minute, count = 0}
    guesses.put(address, found)
  end
  return found
end

local function exchange(handle, key)
  local headers, body = handle:httpCall(LOOPBACK, {
    [":method"] = "POST",
    [":path"] = "/v1/auth/api-key-token",
    [":authority"] = LOOPBACK,
    ["content-type"] = "application/json",
    ["x-request-id"] = handle:headers():get("x-request-id"),
  }, '{"key":"' .. key .. '"}', EXCHANGE_MILLISECONDS)
  local status = headers[":status"]
  if status ~= "200" then return status end
  return status, body:match('"access_token":%s*"([%w._-]+)"'), tonumber(body:match('"expires_in":%s*(%d+)'))
end

-- A token for the key, or the status that refuses it.
local function token_for(handle, key, held, now)
  if held and now < held.renew_at then return held.token end
  -- One request renews; the others go on with what there is.
  if held then held.renew_at = now + OUTAGE_SECONDS end
  local status, token, seconds = exchange(handle, key)
  if token and seconds then
    tokens.put(key, {token = token, renew_at = now + seconds * 0.8, ends_at = now + seconds * 0.95})
    return token
  end
  if status == "401" then
    tokens.forget(key)
    refused.put(key, now + REFUSED_SECONDS)
    return nil, "401"
  end
  if held and now < held.ends_at then return held.token end
  return nil, "503"
end

local function refuse(handle, status, headers)
  headers[":status"] = status
  handle:respond(headers, "")  -- The words are those of replies.py.
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local key = key_of(headers)
  headers:remove("x-api-key")
  if not key or not handle:metadata():get("needs_token") then return end
  local now = os.time()
  if not has_form(key) or now < (refused.get(key) or 0) then
    return refuse(handle, "401", {["www-authenticate"] = "Bearer"})
  end
  local held, guessed = tokens.get(key), guesses_of(handle, now)
  -- Others behind the same address may go on with the keys they have shown before.
  if guessed.count >= MOST_GUESSES and not (held and now < held.ends_at) then
    return refuse(handle, "429", {["retry-after"] = tostring(guessed.minute + 60 - now)})
  end
  local token, status = token_for(handle, key, held, now)
  if status == "401" then
    guessed.count = guessed.count + 1
    return refuse(handle, "401", {["www-authenticate"] = "Bearer"})
  end
  if not token then return refuse(handle, "503", {}) end
  -- Fetched again: what was fetched before a call is gone after it.
  headers = handle:headers()
  headers:replace("authorization", "Bearer " .. token)
  headers:remove("cookie")
end
