import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** X.509 in DER (ITU-T X.690), as much as one certificate takes that signs itself. */

/** Years that a certificate is valid: longer than its server runs, which gets a new one at each start. */
const YEARS = 10;

const der = (tag: number, ...contents: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(contents);
  const { length } = content;
  // the shortest form: strict readers refuse another
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
};
const sequence = (...contents: readonly Uint8Array[]): Buffer => der(0x30, ...contents);
const identifier = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
/** A time as YYMMDDHHMMSSZ, from 2050 on with a year of four digits. */
const time = (milliseconds: number): Buffer => {
  const digits = new Date(milliseconds).toISOString().slice(0, 19).replace(/\D/g, "");
  return digits < "2050" ? der(0x17, Buffer.from(`${digits.slice(2)}Z`)) : der(0x18, Buffer.from(`${digits}Z`));
};

const ECDSA_SHA256 = sequence(identifier("2a8648ce3d040302"));
const COMMON_NAME = identifier("550403");
const BASIC_CONSTRAINTS = identifier("551d13");
const TRUE = der(0x01, Buffer.from([0xff]));

/**
 * A new key and a certificate for it that signs itself, together as PEM text. A program that trusts this certificate alone,
 * and shows it, talks to nobody else.
 */
export function selfSigned(name: string): string {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const issuer = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(name)))));
  const now = Date.now();
  // clocks are set back, too
  const validity = sequence(time(now - 86_400_000), time(now + YEARS * 365 * 86_400_000));
  const serial = randomBytes(16);
  // positive, and without a leading zero
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ECDSA_SHA256,
    issuer,
    validity,
    issuer,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(sequence(BASIC_CONSTRAINTS, TRUE, der(0x04, sequence(TRUE))))),
  );
  const signature = der(0x03, Buffer.from([0]), sign("sha256", body, privateKey));
  const lines = sequence(body, ECDSA_SHA256, signature)
    .toString("base64")
    .replace(/.{1,64}/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n${privateKey.export({ type: "pkcs8", format: "pem" }).toString()}`;
}
