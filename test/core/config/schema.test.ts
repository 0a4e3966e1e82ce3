import assert from "node:assert/strict";
import { test } from "node:test";
import { isShared, parseRunConfig, withStore, withTarget } from "../../../core/config/schema.js";
import { ConfigError } from "../../../core/errors.js";

test("no input, null and {} mean Dolly's own run", () => {
  const config = parseRunConfig(undefined);
  assert.deepEqual(parseRunConfig(null), config);
  assert.deepEqual(parseRunConfig({}), config);
  assert.equal(config.model.source, "hf://EleutherAI/gpt-j-6b@float16");
  assert.deepEqual([config.train.shards, config.train.learningRate, config.preprocess.maxLength], [8, 1e-5, 1024]);
  assert.deepEqual(parseRunConfig(JSON.parse(JSON.stringify(config))), config, "what was filled in is an input again");
});

test("the same tags in another order are the same wish", () => {
  const [one, other] = [
    { a: "1", b: "2" },
    { b: "2", a: "1" },
  ].map((tags) => JSON.stringify(parseRunConfig({ publish: { tags } })));
  assert.equal(one, other);
});

test("a target has one spelling, and is filled in where none is named", () => {
  const targetOf = (target: string | null): string | null =>
    withTarget(parseRunConfig({ publish: { target } }), () => "s3://default/models/").publish.target;
  assert.equal(targetOf("s3://b/p/"), "s3://b/p");
  assert.equal(targetOf("s3://b//"), "s3://b");
  assert.equal(targetOf("file:///p//"), "file:///p");
  assert.equal(targetOf("hf://owner/name/"), "hf://owner/name");
  assert.equal(targetOf(null), "s3://default/models");
});

test("the store of training is below the target where several machines may train and none is named", () => {
  const storeOf = (workers: object): string | null => {
    const config = parseRunConfig({ train: { engine: "deepspeed", workers }, publish: { target: "s3://b/p" } });
    const { store } = withStore(config).train.workers;
    assert.equal(isShared(withStore(config)), store !== null);
    return store;
  };
  assert.equal(storeOf({}), null);
  assert.equal(storeOf({ hosts: 2 }), "s3://b/p/.roslin/train");
  assert.equal(storeOf({ hosts: 2, store: "file:///disk/" }), "file:///disk");
  assert.equal(storeOf({ store: "s3://c/q/" }), "s3://c/q");
  assert.equal(parseRunConfig({ train: { workers: { store: "s3://c/q" } } }).train.engine, "onnx", "one machine after another");
});

const wrong: [unknown, RegExp][] = [
  [{ evaluate: { gate: { overrideWithinHours: 1e12 } } }, /evaluate\.gate\.overrideWithinHours.*8760/],
  [{ modle: {} }, /unknown field modle; did you mean model\?/],
  [{ train: { learningrate: 1 } }, /unknown field train\.learningrate; did you mean train\.learningRate\?/],
  [{ train: { workers: { zzz: 1 } } }, /unknown field train\.workers\.zzz; known here: min, waitSeconds/],
  [{ train: { workers: { hosts: 65 } } }, /train\.workers\.hosts: .*65/],
  [
    { train: { workers: { hosts: 2 } } },
    /train\.workers\.hosts: the engine onnx trains on one machine: several need train\.engine "deepspeed", got 2/,
  ],
  [{ train: { workers: { store: "hf://org/m" } } }, /train\.workers\.store: must be s3:.*got "hf:/],
  [{ train: { epochs: 1.5 } }, /train\.epochs: .*got 1\.5/],
  [{ train: { engine: "other" } }, /train\.engine: .*"onnx".*got "other"/],
  [{ model: { source: "ftp://host/model" } }, /model\.source: must be hf:.*got "ftp:/],
  [{ model: { source: "file://here/m" } }, /model\.source: must be file:.*not a file URL with an absolute path.*got "file:\/\/here\/m"/],
  [{ dataset: { source: "hf://org/../m" } }, /dataset\.source: must be hf:.*hub source is malformed.*got "hf:/],
  [{ publish: { target: "ftp://x" } }, /publish\.target: must be s3:/],
  [
    { publish: { target: "hf://owner" } },
    /publish\.target: must be hf:\/\/owner\/name: the repository's name is missing, got "hf:\/\/owner"/,
  ],
  [
    { publish: { target: "hf://owner/name@main" } },
    /publish\.target: must be hf:\/\/owner\/name without a revision: what is live is on main/,
  ],
  [{ publish: { target: "hf://owner/name/sub" } }, /publish\.target: .*no directories below it/],
  [{ publish: { target: "hf://datasets/owner/name" } }, /publish\.target: .*to model repositories only/],
  [{ publish: { target: "hf://owner/a--b" } }, /publish\.target: .*the name "a--b" may have neither -- nor \.\./],
  [{ publish: { target: "hf://owner/na me" } }, /publish\.target: .*may have letters, digits/],
  [
    { train: { engine: "deepspeed", workers: { hosts: 2 } }, publish: { target: "hf://owner/name" } },
    /train\.workers\.store: must name s3:\/\/bucket\/prefix or file:\/\/\/path, because machines cannot share/,
  ],
  [{ publish: { target: "s3:///models" } }, /publish\.target: must be s3:/],
  [{ publish: { kmsKeyId: "key" } }, /publish\.kmsKeyId: a key is used with publish\.encryption "aws:kms" only, got "key"/],
  [{ publish: { storageClass: "GLACIER" } }, /publish\.storageClass: .*"GLACIER_IR".*got "GLACIER"/],
  [{ publish: { tags: Object.fromEntries([..."abcdefghijk"].map((key) => [key, ""])) } }, /publish\.tags: S3 takes 10 tags/],
  [[], /the input: .*got \[\]/],
];
for (const [input, message] of wrong)
  test(`${JSON.stringify(input)} is refused, and the field named`, () => {
    assert.throws(
      () => parseRunConfig(input),
      (error) => error instanceof ConfigError && message.test(error.message),
    );
  });

test("every problem is named at once", () => {
  assert.throws(
    () => parseRunConfig({ train: { epochs: 0, betas: [1, 2] }, evaluation: {}, publish: { kmsKeyId: "key" } }),
    (error) => error instanceof ConfigError && error.problems.length === 5,
  );
});

test("a rule of the gate that can never hold is refused", () => {
  const ask = (bounds: object): unknown =>
    parseRunConfig({ evaluate: { gate: { rules: [{ metric: "loss", against: "base", ...bounds }] } } });
  assert.throws(() => ask({ atLeast: 2, atMost: 1 }), /evaluate\.gate\.rules\.0: can never hold: atLeast is above atMost/);
  assert.throws(() => ask({}), /evaluate\.gate\.rules\.0: needs atMost, atLeast, or both/);
  ask({ atLeast: 1, atMost: 1 });
});

test("a dataset's source may end in a choice, which a model's may not, and its own fields must agree with it", () => {
  const source = "hf://a/b?config=en&split=train";
  assert.equal(parseRunConfig({ dataset: { source, config: "en", split: null } }).dataset.source, source);
  assert.throws(() => parseRunConfig({ model: { source } }), /model\.source: is a model's, and has no \?config= and no \?split=/);
  assert.throws(
    () => parseRunConfig({ dataset: { source, split: "test" } }),
    /dataset\.split: contradicts the end of dataset\.source, hf:\/\/a\/b\?config=en&split=train: keep one of them, got "test"/,
  );
  assert.throws(() => parseRunConfig({ dataset: { source: "s3://b/x?subset=en" } }), /dataset\.source: .*key "subset" is unknown/);
});

test("a prompt's template and a dataset's columns are checked as far as their text shows", () => {
  const problem = (input: object): string => {
    try {
      parseRunConfig(input);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  const template = (text: string): string => problem({ preprocess: { prompt: { template: text } } });
  for (const good of ["{{ output }}", "{% for m in messages %}{% endfor %}", "{% if output %}{{ output|trim }}{% endif %}"])
    assert.equal(template(good), "");
  assert.match(
    template("{instruction}: {output}"),
    /names stand in two braces: write \{\{ instruction \}\} instead of \{instruction\}, \{\{ output \}\}/,
  );
  assert.match(template("{{ instruction }} output"), /must write \{\{ output \}\}/);
  assert.match(problem({ preprocess: { prompt: "llama" } }), /must be "dolly", "alpaca", "chat" or \{"template": "…"\}, got "llama"/);
  assert.match(
    problem({ dataset: { columns: { messages: "a", output: "b" } } }),
    /messages are whole conversations: leave out output, or messages/,
  );
  assert.match(problem({ dataset: { format: "tokens", columns: { input: "a" } } }), /rows of the format tokens have no input/);
  assert.match(problem({ dataset: { format: "sharegpt", columns: { output: "a" } } }), /rows of the format sharegpt have no output/);
  assert.equal(problem({ dataset: { format: "messages", columns: { messages: "chat", system: "role" } } }), "");
  assert.match(problem({ dataset: { columns: { instruction: "text", output: "text" } } }), /must name each column once, got text twice/);
});
