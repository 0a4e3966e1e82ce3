import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { NoRoomError, UserError } from "../../../core/errors.js";
import { bytes as readable } from "../../../core/units.js";
import { memoryNeeded, type Machine, type Needs } from "../../../engines/engine.js";
import { SHARDS } from "../log/checkpoint.js";

/**
 * Says before the start what would otherwise be a kill without a reason an hour later. Throws NoRoomError where time may
 * help: a lack of disk, because there was enough when the run began, and that of memory once there was an attempt, of which
 * a stopped worker may still hold some. Throws UserError where it cannot. `share`: of the ranks, those on this machine.
 */
export function checkRoom(machine: Machine, directory: string, needs: Needs, isFirst: boolean, share: number = 1): void {
  const { parameters, diskBytes } = needs;
  const memoryBytes = memoryNeeded(needs, machine.onGpus === true) * share;
  const available = machine.availableMemory();
  const Lack = isFirst ? UserError : NoRoomError;
  if (memoryBytes > available)
    throw new Lack("training this model needs more memory than this machine has free", {
      need: readable(memoryBytes),
      have: readable(available),
      parameters,
    });
  // what an earlier attempt left is part of what this one needs
  const files = readdirSync(join(directory, SHARDS)).map((name) => statSync(join(directory, SHARDS, name)));
  // the removal of a file that was taken over frees nothing
  const shards = files.map(({ nlink, size }) => (nlink > 1 ? 0 : size));
  const free = machine.freeDisk(directory) + shards.reduce((sum, bytes) => sum + bytes, 0);
  if (diskBytes > free)
    throw new NoRoomError("the checkpoints need more disk than is free; free some, or lower train.keepCheckpoints", {
      need: readable(diskBytes),
      have: readable(free),
      directory,
    });
}
