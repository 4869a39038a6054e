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
  function kept.forget(name)
    if name == nil then return end
    if young[name] ~= nil then count = count - 1 end
    young[name], old[name] = nil, nil
  end
  return kept
end

