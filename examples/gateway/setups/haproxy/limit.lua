-- Asks the gateway whether a request may pass. Sets txn.limit to the status of its answer.
local gateway = "http://127.0.0.1:8081/"

-- The fields that describe the connection or the question itself.
local own = {
  ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true, ["host"] = true,
  ["expect"] = true, ["upgrade"] = true, ["x-forwarded-for"] = true, ["x-real-ip"] = true,
  ["x-original-method"] = true, ["x-original-uri"] = true, ["x-original-url"] = true,
}

core.register_action("limit", { "http-req" }, function(txn)
  local headers = {}
  for name, lines in pairs(txn.http:req_get_headers()) do
    if not own[name] then
      headers[name] = {}
      for _, line in pairs(lines) do table.insert(headers[name], line) end
    end
  end
  headers["x-forwarded-for"] = { txn.sf:src() }
  headers["x-forwarded-method"] = { txn.sf:method() }
  headers["x-forwarded-uri"] = { txn.sf:pathq() }
  headers["x-forwarded-host"] = { txn.sf:req_fhdr("host") }
  local answer = core.httpclient():get({ url = gateway, headers = headers, timeout = 1000 })
  txn:set_var("txn.limit", answer.status or 0)
  for field, variable in pairs({ ["retry-after"] = "txn.retry_after", ["ratelimit"] = "txn.ratelimit" }) do
    local lines = answer.headers and answer.headers[field]
    if lines then txn:set_var(variable, lines[0] or lines[1]) end
  end
end)
