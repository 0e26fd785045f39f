# SPDX-License-Identifier: Apache-2.0
"""The requests of the load shapes, in the Lua of wrk."""

from __future__ import annotations

POST = """
local template = [==[{body}]==]
local n = {first}
wrk.headers["content-type"] = "application/json"
request = function()
  n = n + 1
  local id = string.format("urn:ngsi-ld:WaterStation:%08d", n)
  return wrk.format("POST", "/ngsi-ld/v1/entities", nil, (string.gsub(template, "@ID@", id)))
end
"""
BATCH = """
local template = [==[{body}]==]
local n = {first}
wrk.headers["content-type"] = "application/json"
request = function()
  local all = {{}}
  for i = 1, {size} do
    n = n + 1
    if n >= {first} + {span} then n = {first} end
    all[i] = string.gsub(template, "@ID@", string.format("urn:ngsi-ld:WaterStation:%08d", n))
  end
  return wrk.format("POST", "/ngsi-ld/v1/entityOperations/upsert", nil, "[" .. table.concat(all, ",") .. "]")
end
"""
PATCH = """
local n = 0
wrk.headers["content-type"] = "application/json"
request = function()
  n = n + 1
  local id = string.format("urn:ngsi-ld:Vehicle:%06d", n % 1000)
  local time = string.format("2026-01-31T08:%02d:%02dZ", n / 60 % 60, n % 60)
  local body = string.format('{{"type":"Property","value":%d,"observedAt":"%s"}}', n, time)
  return wrk.format("PATCH", "/ngsi-ld/v1/entities/" .. id .. "/attrs/speed", nil, body)
end
"""
PATCH_UNWATCHED = (
    PATCH.replace("{{", "{").replace("}}", "}").replace('Vehicle:%06d", n % 1000', 'Vehicle:%06d", 1 + n % 99')
)
