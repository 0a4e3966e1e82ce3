import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { ValueError, type DataConverter, type Payload, type PayloadCodec } from "@temporalio/common";
import protos from "@temporalio/proto";
import { payloadKeys, type PayloadKey } from "./payload-keys.js";

/** What Temporal stores, encrypted: AES-256-GCM, each payload with a nonce of its own and the id of its key. */

const ENCODING = "binary/encrypted";
const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const { Payload: PayloadType } = protos.temporal.api.common.v1;

/** Encrypts payloads by the first key. Payloads that are not encrypted pass: runs may have begun, or been started, without a key. */
export class EncryptionCodec implements PayloadCodec {
  private readonly keys: ReadonlyMap<string, Buffer>;
  private readonly current: PayloadKey;

  constructor(keys: readonly PayloadKey[]) {
    this.current = keys[0]!;
    this.keys = new Map(keys.map(({ id, key }) => [id, key]));
  }

  async encode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) => {
      const { id, key } = this.current;
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce);
      const data = [nonce, cipher.update(PayloadType.encode(payload).finish()), cipher.final(), cipher.getAuthTag()];
      return {
        metadata: { encoding: Buffer.from(ENCODING), "encryption-cipher": Buffer.from(CIPHER), "encryption-key-id": Buffer.from(id) },
        data: Buffer.concat(data),
      };
    });
  }

  async decode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((payload) => (textOf(payload, "encoding") === ENCODING ? this.decrypted(payload) : payload));
  }

  /** Throws ValueError if the key is not there, or the bytes are not what was encrypted. */
  private decrypted(payload: Payload): Payload {
    const id = textOf(payload, "encryption-key-id");
    const key = this.keys.get(id);
    if (key === undefined)
      throw new ValueError(
        `a payload is encrypted with a key that this process does not have; add it to ROSLIN_PAYLOAD_KEY, behind the first [id=${id}, have=${[...this.keys.keys()].join(" ")}]`,
      );
    const data = Buffer.from(payload.data ?? []);
    try {
      const decipher = createDecipheriv(CIPHER, key, data.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAuthTag(data.subarray(-TAG_BYTES));
      return PayloadType.decode(Buffer.concat([decipher.update(data.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]));
    } catch {
      throw new ValueError(
        `a payload is damaged, or its key has the id of another; correct ROSLIN_PAYLOAD_KEY [id=${id}, bytes=${data.length}]`,
      );
    }
  }
}

function textOf({ metadata }: Payload, name: string): string {
  return Buffer.from(metadata?.[name] ?? []).toString("utf8");
}

/** The file that makes failures encrypt, too; Temporal wants its path. */
export const FAILURE_CONVERTER: string = fileURLToPath(new URL("encoded-failures.cjs", import.meta.url));

/** For clients and workers: how payloads are written, if the variables name keys. Throws UserError. */
export function dataConverterOf(variables: Readonly<Record<string, string | undefined>>): { readonly dataConverter?: DataConverter } {
  const keys = payloadKeys(variables);
  if (keys === null) return {};
  return { dataConverter: { payloadCodecs: [new EncryptionCodec(keys)], failureConverterPath: FAILURE_CONVERTER } };
}
