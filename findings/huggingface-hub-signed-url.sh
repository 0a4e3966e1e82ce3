#!/usr/bin/env bash
# @huggingface/hub 2.17.5, commit (and uploadFile, which calls it):
#
# 1. Where the upload of a large file to the storage fails, the message of the HubApiError holds the whole URL of that request.
#    The URL is a presigned one, whose query authorises the upload until it expires, so a program that logs error.message
#    writes a credential into its logs. error.url holds it too.
# 2. A token that does not begin with hf_ is refused before any request, with a TypeError instead of a HubApiError, whatever
#    hubUrl says. A compatible server that gives out other tokens cannot be used with accessToken.
#
# Seen on 2026-11-30, against a local hub whose storage answers 503:
#   storage: HubApiError: Api error with status 503. Error while uploading model.bin to LFS storage. URL: http://127.0.0.1:PORT/storage/object?X-Amz-Credential=EXAMPLE&X-Amz-Expires=900&X-Amz-Signature=0123456789abcdef
#   token:   TypeError: Your access token must start with 'hf_'
#
# What to do: cut the query off each URL in an error's message before it is shown or logged.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --ignore-scripts --no-audit --no-fund --silent @huggingface/hub@2.17.5
cat >look.mjs <<'JS'
import { createServer } from "node:http";
import { commit } from "@huggingface/hub";

const query = "X-Amz-Credential=EXAMPLE&X-Amz-Expires=900&X-Amz-Signature=0123456789abcdef";
// the requests of a commit with one large file, as the hub answers them, and a storage that is out of order
const hub = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const answer = (status, type, value) => response.writeHead(status, { "content-type": type }).end(value);
  if (request.url.includes("/preupload/")) {
    answer(200, "application/json", JSON.stringify({ files: [{ path: "model.bin", uploadMode: "lfs" }] }));
  } else if (request.url.endsWith("/info/lfs/objects/batch")) {
    const href = `http://127.0.0.1:${hub.address().port}/storage/object?${query}`;
    const objects = JSON.parse(body).objects.map((object) => ({ ...object, actions: { upload: { href } } }));
    answer(200, "application/vnd.git-lfs+json", JSON.stringify({ transfer: "basic", objects }));
  } else if (request.url.startsWith("/storage/")) {
    answer(503, "application/xml", "<Error><Code>SlowDown</Code></Error>");
  } else {
    answer(404, "text/plain", "not part of this");
  }
});
await new Promise((resolve) => hub.listen(0, "127.0.0.1", resolve));
const failure = async (accessToken) => {
  try {
    await commit({
      hubUrl: `http://127.0.0.1:${hub.address().port}`,
      repo: "someone/model",
      accessToken,
      title: "Add the weights",
      operations: [{ operation: "addOrUpdate", path: "model.bin", content: new Blob(["weights"]) }],
    });
    return new Error("no error");
  } catch (error) {
    return error;
  }
};
const storage = await failure("hf_example");
const token = await failure("example");
hub.close();
console.log(`storage: ${storage.constructor.name}: ${storage.message.replace(/:\d+\//, ":PORT/")}`);
console.log(`token:   ${token.constructor.name}: ${token.message}`);
const written = storage.statusCode === 503 && storage.message.includes(query);
process.exit(written && token instanceof TypeError ? 0 : 1);
JS
node look.mjs
