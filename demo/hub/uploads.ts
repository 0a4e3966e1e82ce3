import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { bodyOf, refuse, sendJson } from "./answers.js";
import { sha256, stored, WrittenRepository } from "./repositories.js";
import { isLarge, type Tree } from "./tree.js";

/** Who may write to a small hub. */
export interface Account {
  readonly name: string;
  readonly role: "read" | "write";
  readonly orgs?: readonly string[];
}

/** What a small hub that takes uploads is told. */
export interface UploadOptions {
  /** by token */
  readonly accounts: Readonly<Record<string, Account>>;
  /** LFS objects above it come in parts of this size */
  readonly partBytes?: number;
}

interface Step {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** what follows the repository in the path, decoded */
  readonly rest: readonly string[];
  readonly repository: WrittenRepository;
}

/** The uploads of a small hub: LFS in one piece or in parts, commits, branches and tags; Xet is refused. */
export class Uploads {
  readonly repositories = new Map<string, WrittenRepository>();
  private readonly parts = new Map<string, Map<number, Buffer>>();
  private readonly options: UploadOptions;
  /** in the addresses of LFS objects, which ask for no token, as those of the real hub's store */
  private readonly signature = randomUUID();

  constructor(options: UploadOptions) {
    this.options = options;
  }

  /** The files of a written repository at a revision, for this request; null: they are not its business, "hidden": it may not see them. */
  tree(id: string, revision: string, request: IncomingMessage): Tree | "hidden" | null {
    const repository = this.repositories.get(id);
    if (repository === undefined) return null;
    if (repository.isPrivate && !this.owns(id, this.account(request))) return "hidden";
    return repository.tree(revision);
  }

  /** Answers what is not a download; false: it is one. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { method } = request;
    const url = new URL(request.url ?? "/", "http://hub");
    const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
    const asked = `${method} ${url.pathname}`;
    if (asked === "GET /api/whoami-v2") return this.whoAmI(request, response);
    if (asked === "POST /api/validate-yaml") return done(sendJson(response, { errors: [], warnings: [] }));
    const isRead = method === "GET" || method === "HEAD";
    const isHistory = parts[0] === "api" && ["refs", "commits"].includes(parts[4] ?? "");
    if (isRead && !isHistory && !url.pathname.includes("xet-")) return false;
    const at = parts[0] === "api" ? 2 : parts[0] === "lfs" ? 1 : 0;
    const id = `${parts[at]}/${parts[at + 1]?.replace(/\.git$/, "")}`;
    const repository = this.repositories.get(id);
    if (url.searchParams.get("signature") !== this.signature) {
      const account = this.account(request);
      if (account === null) return done(refuse(response, 401, "Unauthorized", "Invalid username or password."));
      if (asked === "POST /api/repos/create") return this.create(request, response, account);
      if (repository === undefined) return done(refuse(response, 404, "RepoNotFound", "Repository not found"));
      if (!this.owns(id, account)) return done(refuse(response, 403, "Forbidden", `You don't have the rights to write to ${id}`));
      if (account.role === "read" && !isRead)
        return done(refuse(response, 403, "Forbidden", "Forbidden: your token has no right to write"));
    } else if (repository === undefined) return done(refuse(response, 404, "RepoNotFound", "Repository not found"));
    const step: Step = { request, response, repository, rest: parts.slice(at + 2) };
    const work: ((step: Step) => void | Promise<void>) | undefined = {
      refs: this.refs,
      commits: this.commits,
      preupload: this.preupload,
      info: this.batch,
      object: this.put,
      complete: this.complete,
      verify: this.verify,
      commit: this.commit,
      branch: this.branch,
      tag: this.tag,
    }[step.rest[0] ?? ""];
    if (work === undefined) return done(refuse(response, 404, "NotFound", "not here; Xet neither"));
    await work.call(this, step);
    return true;
  }

  private account(request: IncomingMessage): Account | null {
    return this.options.accounts[request.headers.authorization?.replace(/^Bearer /, "") ?? ""] ?? null;
  }

  private owns(id: string, account: Account | null): boolean {
    return account !== null && [account.name, ...(account.orgs ?? [])].includes(id.split("/")[0]!);
  }

  private whoAmI(request: IncomingMessage, response: ServerResponse): boolean {
    const account = this.account(request);
    if (account === null) return done(refuse(response, 401, "Unauthorized", "Invalid user token."));
    const { name, role, orgs = [] } = account;
    const auth = { type: "access_token", accessToken: { displayName: "token", role, createdAt: "2026-01-01T00:00:00.000Z" } };
    return done(sendJson(response, { type: "user", name, orgs: orgs.map((name) => ({ type: "org", name })), auth }));
  }

  private async create(request: IncomingMessage, response: ServerResponse, account: Account): Promise<boolean> {
    const body = JSON.parse(`${await bodyOf(request)}`) as { name: string; organization?: string; visibility?: string };
    const id = body.name.includes("/") ? body.name : `${body.organization ?? account.name}/${body.name}`;
    if (account.role === "read" || !this.owns(id, account))
      return done(refuse(response, 403, "Forbidden", `You don't have the rights to create a model under ${id}`));
    if (this.repositories.has(id)) return done(refuse(response, 409, "RepoExists", "You already created this model repo"));
    this.repositories.set(id, new WrittenRepository(id, body.visibility === "private"));
    return done(sendJson(response, { url: `http://${request.headers.host}/${id}`, name: id, id }));
  }

  private refs({ response, repository }: Step): void {
    const listed = (refs: ReadonlyMap<string, string>, kind: string): unknown =>
      [...refs].map(([name, targetCommit]) => ({ name, ref: `refs/${kind}/${name}`, targetCommit }));
    sendJson(response, { branches: listed(repository.branches, "heads"), tags: listed(repository.tags, "tags"), converts: [] });
  }

  private commits({ response, repository, rest }: Step): void {
    const found = [];
    for (let commit = repository.at(rest[1]!); commit !== null; commit = repository.at(commit.parent ?? ""))
      found.push({ id: commit.oid, title: commit.title });
    sendJson(response, found);
  }

  private async preupload({ request, response, repository, rest }: Step): Promise<void> {
    const commit = repository.at(rest[1]!);
    if (commit === null) return refuse(response, 404, "RevisionNotFound");
    const { files } = JSON.parse(`${await bodyOf(request)}`) as { files: { path: string; size: number }[] };
    const modes = files.map(({ path, size }) => ({
      path,
      uploadMode: isLarge(path, size) ? "lfs" : "regular",
      shouldIgnore: false,
      oid: commit.files.get(path)?.blobId ?? null,
    }));
    sendJson(response, { files: modes, commitOid: commit.oid });
  }

  private async batch({ request, response, repository }: Step): Promise<void> {
    const { objects } = JSON.parse(`${await bodyOf(request)}`) as { objects: { oid: string; size: number }[] };
    const { partBytes = Infinity } = this.options;
    const base = `http://${request.headers.host}/lfs/${repository.id}`;
    const actionsOf = (oid: string, size: number): unknown => {
      const signed = (what: string): string => `${base}/${what}?signature=${this.signature}`;
      const verify = { href: `${base}/verify/${oid}` };
      if (size <= partBytes) return { upload: { href: signed(`object/${oid}`) }, verify };
      const count = Math.ceil(size / partBytes);
      const urls = Array.from({ length: count }, (_, index) => [`${index + 1}`.padStart(5, "0"), signed(`object/${oid}/${index + 1}`)]);
      return { upload: { href: signed(`complete/${oid}`), header: { chunk_size: `${partBytes}`, ...Object.fromEntries(urls) } }, verify };
    };
    const answered = objects.map(({ oid, size }) => ({
      oid,
      size,
      ...(repository.objects.has(oid) ? {} : { authenticated: true, actions: actionsOf(oid, size) }),
    }));
    sendJson(response, { transfer: objects.some(({ size }) => size > partBytes) ? "multipart" : "basic", objects: answered });
  }

  private async put({ request, response, repository, rest }: Step): Promise<void> {
    const [, oid = "", part] = rest;
    const body = await bodyOf(request);
    if (part !== undefined) {
      const parts = this.parts.get(oid) ?? new Map<number, Buffer>();
      this.parts.set(oid, parts.set(Number(part), body));
    } else if (!keep(repository, oid, body)) return refuse(response, 400, "BadDigest", "the bytes have another digest");
    response.writeHead(200, { etag: `"${sha256(body)}"` }).end();
  }

  private async complete({ request, response, repository, rest }: Step): Promise<void> {
    const oid = rest[1]!;
    const { parts } = JSON.parse(`${await bodyOf(request)}`) as { parts: { partNumber: number }[] };
    const there = parts.map(({ partNumber }) => this.parts.get(oid)?.get(partNumber));
    if (there.includes(undefined)) return refuse(response, 400, "InvalidPart");
    if (!keep(repository, oid, Buffer.concat(there as Buffer[]))) return refuse(response, 400, "BadDigest");
    this.parts.delete(oid);
    sendJson(response, {});
  }

  private verify({ response, repository, rest }: Step): void {
    if (repository.objects.has(rest[1]!)) sendJson(response, {});
    else refuse(response, 404, "ObjectNotFound");
  }

  private async commit({ request, response, repository, rest }: Step): Promise<void> {
    const branch = rest[1]!;
    const lines = `${await bodyOf(request)}`.split("\n").filter((line) => line !== "");
    const entries = lines.map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const head = repository.branches.get(branch);
    if (head === undefined) return refuse(response, 404, "RevisionNotFound", `there is no branch ${branch}`);
    const header = entries.find(({ key }) => key === "header")?.value;
    if (header?.["parentCommit"] !== undefined && header["parentCommit"] !== head)
      return refuse(response, 412, "CommitConflict", "A commit has happened since. Please refresh and try again.");
    const files = new Map(repository.at(head)!.files);
    for (const { key, value } of entries) {
      const path = value["path"]!;
      if (key === "deletedFile" && !files.delete(path)) return refuse(response, 404, "EntryNotFound", `${path} is not there to delete`);
      if (key === "file") files.set(path, stored(path, Buffer.from(value["content"]!, "base64"), false));
      if (key !== "lfsFile") continue;
      const content = repository.objects.get(value["oid"]!);
      if (content === undefined) return refuse(response, 400, "ObjectNotFound", `the LFS object of ${path} was not uploaded`);
      files.set(path, stored(path, content, true));
    }
    const commitOid = repository.add(branch, head, header?.["summary"] ?? "", files);
    sendJson(response, {
      success: true,
      commitOid,
      commitUrl: `http://${request.headers.host}/${repository.id}/commit/${commitOid}`,
      hookOutput: "",
    });
  }

  private async branch({ request, response, repository, rest }: Step): Promise<void> {
    const name = rest[1]!;
    if (request.method === "DELETE") return removed(response, repository.branches.delete(name));
    const { startingPoint = "main" } = JSON.parse(`${await bodyOf(request)}` || "{}") as { startingPoint?: string };
    if (repository.at(name) !== null) return refuse(response, 409, "RefExists", `Reference already exists: ${name}`);
    const commit = repository.at(startingPoint);
    if (commit === null) return refuse(response, 404, "RevisionNotFound");
    repository.branches.set(name, commit.oid);
    sendJson(response, {});
  }

  private async tag({ request, response, repository, rest }: Step): Promise<void> {
    if (request.method === "DELETE") return removed(response, repository.tags.delete(rest[1]!));
    const { tag } = JSON.parse(`${await bodyOf(request)}`) as { tag: string };
    const commit = repository.at(rest[1]!);
    if (commit === null) return refuse(response, 404, "RevisionNotFound");
    if (repository.at(tag) !== null) return refuse(response, 409, "RefExists", `Reference already exists: ${tag}`);
    repository.tags.set(tag, commit.oid);
    sendJson(response, {});
  }
}

/** It was answered. */
function done(_answered: void): true {
  return true;
}

function removed(response: ServerResponse, was: boolean): void {
  if (was) sendJson(response, {});
  else refuse(response, 404, "RevisionNotFound");
}

/** Keeps an LFS object; false: its bytes have another digest. */
function keep(repository: WrittenRepository, oid: string, content: Buffer): boolean {
  if (sha256(content) !== oid) return false;
  repository.objects.set(oid, content);
  return true;
}
