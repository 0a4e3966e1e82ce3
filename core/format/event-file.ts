import { crc32c } from "./crc32c.js";
import { bytes, double, fieldsOf, float, integer, message, text } from "./protobuf.js";

/**
 * TensorBoard's event files: records, each with its length and two checksums, of the messages of
 * https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto. Times are seconds since 1970.
 */

/** `SessionLog.START`. */
const START = 1;

/** How an event file begins: with a start too, because TensorBoard's own Python reader does not count the first one. */
export function fileHead(time: number): Uint8Array {
  const version = record(message(double(1, time), text(3, "brain.Event:2")));
  return message(version, restart(time, 0));
}

/** Says that writing begins anew with a step: readers forget what they have of this step and later ones. */
export function restart(time: number, step: number): Uint8Array {
  return record(message(double(1, time), integer(2, step), bytes(7, integer(1, START))));
}

/** Figures of a step, by their tags; readers have them as fp32. */
export function scalars(time: number, step: number, values: Readonly<Record<string, number>>): Uint8Array {
  const summary = message(...Object.entries(values).map(([tag, value]) => bytes(1, message(text(1, tag), float(2, value)))));
  return record(message(double(1, time), integer(2, step), bytes(5, summary)));
}

/** A record as TensorFlow frames it: length, checksum of the length, content, checksum of the content. */
function record(content: Uint8Array): Uint8Array {
  const framed = new Uint8Array(content.length + 16);
  const view = new DataView(framed.buffer);
  view.setBigUint64(0, BigInt(content.length), true);
  view.setUint32(8, masked(framed.subarray(0, 8)), true);
  framed.set(content, 12);
  view.setUint32(12 + content.length, masked(content), true);
  return framed;
}

/** The checksum as it is stored, because one of data that have checksums in them would be weak. */
function masked(content: Uint8Array): number {
  const crc = crc32c(content);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** How many of an event file's bytes are whole records: a kill or a power loss may have cut the last one short. */
export function wholeRecords(file: Uint8Array): number {
  let whole = 0;
  for (const { end } of records(file)) whole = end;
  return whole;
}

/** The steps that readers show of a file, in its order: restarts have removed those that they name. A step with figures twice is there twice. */
export function shownSteps(file: Uint8Array): number[] {
  let steps: number[] = [];
  for (const { content } of records(file)) {
    const fields = fieldsOf(content);
    const step = fields.find(({ field }) => field === 2)?.value ?? 0;
    if (fields.some(({ field }) => field === 7)) steps = steps.filter((each) => each < step);
    else if (fields.some(({ field }) => field === 5)) steps.push(step);
  }
  return steps;
}

/** A file's whole records, each with the byte after it. */
function* records(file: Uint8Array): Generator<{ readonly content: Uint8Array; readonly end: number }> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  while (at + 12 <= file.length) {
    const next = at + 16 + Number(view.getBigUint64(at, true));
    if (view.getUint32(at + 8, true) !== masked(file.subarray(at, at + 8)) || next > file.length) return;
    const content = file.subarray(at + 12, next - 4);
    if (view.getUint32(next - 4, true) !== masked(content)) return;
    yield { content, end: next };
    at = next;
  }
}
