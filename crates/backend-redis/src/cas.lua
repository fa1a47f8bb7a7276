#!lua flags=allow-oom
-- KEYS[1] the lock. ARGV: 1 the reign, 2 the bytes that are replaced ('' if there are none), 3 the
-- new bytes, 4 '1' if replicas may follow.
local function ask(right, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    return nil, {-1, right, reply.err}
  end
  return reply
end
local server, refused = ask('info|server', 'INFO', 'server')
if refused then return refused end
local replication, refused = ask('info|replication', 'INFO', 'replication')
if refused then return refused end
local stats, refused = ask('info|stats', 'INFO', 'stats')
if refused then return refused end
-- Plain searches: a pattern that is tried at each byte of a section costs much of the time.
local function field(section, name)
  local _, colon = string.find(section, name .. ':', 1, true)
  return colon and string.match(section, '^[%w-]+', colon + 1) or ''
end
local role = field(replication, 'role')
if role ~= 'master' then return {-2, role} end
local reign = field(server, 'run_id') .. ':' .. field(replication, 'master_replid') .. ':'
  .. field(stats, 'sync_full') .. ':' .. field(stats, 'sync_partial_ok')
if reign ~= ARGV[1] then return {0} end
if ARGV[4] ~= '1' then
  local online = 0
  for port, state in string.gmatch(replication, 'slave%d+:[^\r\n]-port=(%d+),state=(%a+)') do
    if port ~= '0' and state == 'online' then online = online + 1 end
  end
  if online > 0 then return {-3, online} end
end
local stored, refused = ask('get', 'GET', KEYS[1])
if refused then return refused end
if (stored or '') ~= ARGV[2] or (stored == '') then return {0} end
local done, refused = ask('set', 'SET', KEYS[1], ARGV[3])
if refused then return refused end
redis.pcall('PUBLISH', KEYS[1], ARGV[3])
return {1}
