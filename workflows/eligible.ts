import type { GpuWorker, LeaseRequest } from "./contract.js";

/** What a request would get now. */
export interface Eligible {
  /** those of one machine stand together, lowest slots first */
  readonly workers: readonly GpuWorker[];
  /** how many workers are known to come, at most as many as the request can use */
  readonly all: number;
  /** how many machines these workers are on, of how many that the request would wait for */
  readonly hosts: number;
  readonly allHosts: number;
  /** nothing is worth waiting for */
  readonly isComplete: boolean;
}

/** What the rule reads of a request. */
export type Wish = Pick<LeaseRequest, "host" | "min" | "max" | "enough" | "hosts">;

/**
 * The workers that a request would get, and whether it should wait for more: those of its own host, or of as many machines
 * as it may have, those with the most workers first. Its own host goes before others that have as many.
 */
export function eligible(workers: Iterable<GpuWorker>, wish: Wish): Eligible {
  const limit = Math.min(wish.max, wish.enough);
  const chosen = wish.hosts === undefined ? ownHost(workers, wish.host) : fullestHosts(workers, wish.host, wish.hosts);
  const found = chosen.flat().slice(0, wish.max);
  const started = chosen.reduce((sum, each) => sum + Math.max(...each.map(({ of }) => of)), 0);
  const all = Math.max(wish.min, Math.min(limit, started));
  // a machine that is not known yet may bring what is still missing
  const allHosts = found.length >= limit ? chosen.length : (wish.hosts ?? 1);
  const isComplete = found.length >= all && (wish.hosts === undefined || chosen.length >= allHosts);
  return { workers: found, all, hosts: hostsOf(found).length, allHosts, isComplete };
}

/** The machines of workers, in order. */
export function hostsOf(workers: readonly Pick<GpuWorker, "host">[]): string[] {
  return [...new Set(workers.map(({ host }) => host))];
}

function ownHost(workers: Iterable<GpuWorker>, host: string): GpuWorker[][] {
  const own = [...workers].filter((worker) => worker.host === host).sort((a, b) => a.slot - b.slot);
  return own.length === 0 ? [] : [own];
}

function fullestHosts(workers: Iterable<GpuWorker>, first: string, count: number): GpuWorker[][] {
  // one of an earlier version cannot be reached from other machines
  const reachable = [...workers].filter(({ address }) => address !== undefined);
  const rank = (host: string): number => (host === first ? 0 : 1);
  return hostsOf(reachable)
    .map((host) => ownHost(reachable, host)[0]!)
    .sort((a, b) => b.length - a.length || rank(a[0]!.host) - rank(b[0]!.host) || (a[0]!.host < b[0]!.host ? -1 : 1))
    .slice(0, count);
}
