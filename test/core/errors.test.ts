import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ChangedInputError,
  ConfigError,
  CorruptError,
  DiskFullError,
  errorNamed,
  FencedError,
  ForbiddenError,
  messageOf,
  NON_RETRYABLE,
  NoRoomError,
  PeerLostError,
  StoppedError,
  UnreachableError,
  UserError,
  WorkerDiedError,
} from "../../core/errors.js";

test("an error that travelled as words comes back as its class: Temporal names a failure by that, not by the error's name", () => {
  for (const kind of [
    UserError,
    ForbiddenError,
    ChangedInputError,
    NoRoomError,
    CorruptError,
    FencedError,
    PeerLostError,
    StoppedError,
    UnreachableError,
    DiskFullError,
    WorkerDiedError,
  ])
    assert.equal(errorNamed(kind.name, "what happened").constructor, kind);
  assert.equal(errorNamed("constructor", "what happened").name, "constructor");
  assert.equal(errorNamed("RangeError", "what happened").name, "RangeError");
  assert.equal(errorNamed("ConfigError", "what happened") instanceof UserError, true);
});

test("every class's name is the one that it says, and the final ones are those that time cannot cure", () => {
  const errors = [
    new UserError("u"),
    new ForbiddenError("s3:PutObject", "f"),
    new ConfigError(["c"]),
    new ChangedInputError("i"),
    new NoRoomError("n"),
    new CorruptError("c"),
    new FencedError("f"),
    new PeerLostError("p"),
    new StoppedError("s"),
    new UnreachableError("u"),
    new DiskFullError("d"),
    new WorkerDiedError("d"),
  ];
  for (const error of errors) assert.equal(error.name, error.constructor.name);
  assert.deepEqual(
    errors.map(({ name }) => name).filter((name) => NON_RETRYABLE.includes(name)),
    ["UserError", "ForbiddenError", "ConfigError", "ChangedInputError", "FencedError"],
  );
});

test("a message tells what failed, where, and the causes that say more", () => {
  assert.equal(new UserError("it failed", { file: "a", row: 3, none: undefined }).message, "it failed [file=a, row=3]");
  assert.equal(messageOf(new Error("it failed", { cause: new Error("no disk") })), "it failed: no disk");
  assert.equal(messageOf(new Error("it failed: no disk", { cause: new Error("no disk") })), "it failed: no disk");
  assert.match(new ConfigError(["one", "two"]).message, /2 problems:\n {2}- one\n {2}- two/);
});
