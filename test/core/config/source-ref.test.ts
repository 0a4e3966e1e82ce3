import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSource, publishedAddress, readSource } from "../../../core/config/source-ref.js";
import { UserError } from "../../../core/errors.js";

test("a hub source names repository and revision", () => {
  assert.deepEqual(parseSource("hf://EleutherAI/gpt-j-6b@float16"), { kind: "hub", id: "EleutherAI/gpt-j-6b", revision: "float16" });
  assert.deepEqual(parseSource("hf://squad"), { kind: "hub", id: "squad", revision: "main" });
  assert.deepEqual(parseSource("hf://a/b@refs/pr/1"), { kind: "hub", id: "a/b", revision: "refs/pr/1" });
});

test("an S3 source names bucket and key, and the target of a latest model", () => {
  const s3 = (key: string, latest: string | null = null): unknown => ({ kind: "s3", bucket: "b", key, latest });
  assert.deepEqual(parseSource("s3://b"), s3(""));
  assert.deepEqual(parseSource("s3://b//p/q//"), s3("p/q"));
  assert.deepEqual(parseSource("s3://b/p/latest"), s3("p/latest", "p"));
  assert.deepEqual(parseSource("s3://b/p/latest.json/"), s3("p/latest.json", "p"));
  assert.deepEqual(parseSource("s3://b/latest"), s3("latest", ""));
  assert.deepEqual(parseSource("s3://b/p-latest"), s3("p-latest"));
  assert.deepEqual(parseSource("s3://latest"), { kind: "s3", bucket: "latest", key: "", latest: null });
});

test("a file source names a decoded path, and the target of a latest model", () => {
  assert.deepEqual(parseSource("file:///a%20b/c"), { kind: "file", path: "/a b/c", latest: null });
  assert.deepEqual(parseSource("file:///a/latest.json"), { kind: "file", path: "/a/latest.json", latest: "/a" });
  assert.deepEqual(parseSource("file:///a/latest/"), { kind: "file", path: "/a/latest/", latest: "/a" });
  assert.deepEqual(parseSource("file://localhost/a"), { kind: "file", path: "/a", latest: null });
});

const WRONG: readonly [source: string, problem: RegExp][] = [
  ...["hf://", "hf://a/b/c", "hf://../b", "hf://a/b@", "hf://a/b@x/../y", "hf://a/b c", "hf:///a/b"].map(
    (source) => [source, /hub source is malformed \[expected=hf:/] as [string, RegExp],
  ),
  ["s3://", /S3 source is malformed \[expected=s3:/],
  ["s3:///key", /S3 source is malformed/],
  ["file://", /a source is malformed/],
  ["file://here/m", /not a file URL with an absolute path: a host is named \[expected=file:/],
  ["file:///rows?x", /%3F and %23/],
  ["file:///rows#1", /%3F and %23/],
  ["file:///a%2Fb", /encoded slash/],
  ["file:///%E0%A4%A", /not a URL/],
  ["/rows.json", /expected=hf:.*s3:.*file:/],
  ["ftp://a/b", /a source is malformed/],
];
for (const [source, problem] of WRONG)
  test(`${source} is refused, with what was expected`, () => {
    assert.throws(
      () => parseSource(source),
      (error: unknown) => error instanceof UserError && problem.test(error.message) && error.message.includes(`got=${source}`),
    );
    assert.ok("problem" in readSource(source));
  });

test("the address of a published model has no slash and no latest at its end", () => {
  for (const end of ["", "/", "/latest", "/latest/", "/latest.json"]) {
    assert.equal(publishedAddress(`s3://b/p${end}`), "s3://b/p");
    assert.equal(publishedAddress(`file:///p${end}`), "file:///p");
  }
  assert.equal(publishedAddress("s3://latest"), "s3://latest");
});
