import assert from "node:assert/strict";
import { test } from "node:test";
import { chosenSource, parseSource, placeOf, publishedAddress, readPlace, readSource } from "../../../core/config/source-ref.js";
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

const CHOSEN: readonly (readonly [source: string, place: string, config: string | null, split: string | null])[] = [
  ["hf://a/b?config=en&split=train", "hf://a/b", "en", "train"],
  ["hf://a/b@refs/convert/parquet?split=train_sft", "hf://a/b@refs/convert/parquet", null, "train_sft"],
  ["hf://a/b@v1?split=test&config=20220301.en", "hf://a/b@v1", "20220301.en", "test"],
  ["hf://a/b?config=%C3%A9t%C3%A9%26%3F", "hf://a/b", "été&?", null],
  ["hf://a/b?config=a+b=c", "hf://a/b", "a+b=c", null],
  ["s3://b/p/q?config=en", "s3://b/p/q", "en", null],
  ["s3://b?split=test", "s3://b", null, "test"],
  ["s3://b/what?.json?split=train", "s3://b/what?.json", null, "train"],
  ["file:///a%3Fb/c?split=train", "file:///a%3Fb/c", null, "train"],
];
for (const [source, place, config, split] of CHOSEN)
  test(`${source} chooses ${config ?? "any"} configuration and ${split ?? "any"} split of ${place}`, () => {
    assert.deepEqual(parseSource(source), { ...readPlace(place), choice: { config, split } });
    assert.equal(placeOf(source), place);
    const again = chosenSource({ source: place, config, split });
    assert.deepEqual(parseSource(again), parseSource(source));
    assert.equal(chosenSource({ source, config, split }), again, "one spelling, wherever the choice is written");
  });

test("a ? in an S3 key that is not a choice stays, and one more ? ends a key that looks like one", () => {
  for (const key of ["what?.json", "x?a=b/c.json"])
    assert.deepEqual(parseSource(`s3://b/${key}`), { kind: "s3", bucket: "b", key, latest: null });
  assert.deepEqual(parseSource("s3://b/x?a=b?"), { kind: "s3", bucket: "b", key: "x?a=b", latest: null });
  assert.deepEqual(parseSource("s3://b/x?a=b?split=c").choice, { config: null, split: "c" });
  assert.equal(placeOf("s3://b/x?a=b?split=c"), "s3://b/x?a=b");
  assert.equal(chosenSource({ source: "s3://b/x?a=b?", config: null, split: "c" }), "s3://b/x?a=b?split=c");
  assert.equal(chosenSource({ source: "s3://b/x?a=b?", config: null, split: null }), "s3://b/x?a=b?");
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
  ["file:///rows 100%.jsonl", /a % in a path is written %25/],
  ["hf://a/b?subset=en", /is not a choice: the key "subset" is unknown \[expected=\?config=NAME&split=NAME/],
  ["hf://a/b?config=en&config=de", /it has config twice/],
  ["hf://a/b?config=", /config is empty/],
  ["hf://a/b?split=%zz", /split has a %/],
  ["hf://a/b?split=c#", /# is written %23/],
  ["hf://a b?split=c", /hub source is malformed/],
  ["s3://b/x?name=en", /key "name" is unknown.*followed by one more \?/],
  ["file:///rows?split=a&x", /key "x" is unknown.*%3F and %23/],
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
