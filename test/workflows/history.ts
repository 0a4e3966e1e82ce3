import { readFile } from "node:fs/promises";
import protos from "@temporalio/proto";
import type { History } from "@temporalio/common/lib/proto-utils.js";

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/;
const DURATION = /^(\d+)(?:\.(\d{1,9}))?s$/;

/** Reads a history as `temporal workflow show --output json` writes it; the SDK's own reader fails where npm installs protobufjs twice. */
export async function readHistory(path: string): Promise<History> {
  const json: unknown = JSON.parse(await readFile(path, "utf8"), (_key, value: unknown) =>
    typeof value === "string" ? timed(value) : value,
  );
  return protos.temporal.api.history.v1.History.fromObject(json as object);
}

/** Times and durations as protobuf has them; any other text stays. */
function timed(text: string): unknown {
  const time = TIME.exec(text);
  if (time !== null) return { seconds: Date.parse(`${time[1]}Z`) / 1000, nanos: nanos(time[2]) };
  const duration = DURATION.exec(text);
  return duration === null ? text : { seconds: Number(duration[1]), nanos: nanos(duration[2]) };
}

function nanos(digits = ""): number {
  return Number(digits.padEnd(9, "0"));
}
