import type { IncomingMessage, ServerResponse } from "node:http";

/** What answers of the small hub have in common. */

/** Sends JSON. */
export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

/** Refuses a request with the hub's code for the reason, and perhaps a sentence. */
export function refuse(response: ServerResponse, status: number, code: string, said = code): void {
  response.writeHead(status, { "x-error-code": code, "x-error-message": said, "content-type": "application/json" });
  response.end(JSON.stringify({ error: said }));
}

/** A request's whole body. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
