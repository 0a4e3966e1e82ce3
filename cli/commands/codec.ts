import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { UserError } from "../../core/errors.js";
import { codecServer } from "../../workers/codec-server.js";
import { EncryptionCodec } from "../../workers/payload-codec.js";
import { addPayloadKey, payloadKeys } from "../../workers/payload-keys.js";
import { runningState } from "../machine/up-state.js";
import { wholeNumber, type Command } from "../shell/command.js";
import { Interrupted, untilInterrupted } from "../shell/interrupt.js";

const PORT = 8081;

/** `roslin codec`: lets the Web UI and the stock CLI read encrypted payloads, and makes their keys. */
export const codec: Command = {
  name: "codec",
  summary: "serve the keys' decryption to the Web UI and the temporal CLI on this machine; or make a key with --new-key",
  usage: "codec [--port N] [--ui ORIGIN]… | codec --new-key FILE",
  async run(args, environment) {
    const { values } = parseArgs({
      args: [...args],
      options: { port: { type: "string" }, ui: { type: "string", multiple: true }, "new-key": { type: "string" } },
    });
    if (values["new-key"] !== undefined) {
      const file = resolve(values["new-key"]);
      const id = addPayloadKey(file, new Date());
      console.log(`key ${id} stands first in ${file}\nexport ROSLIN_PAYLOAD_KEY=${file}`);
      return 0;
    }
    const keys = payloadKeys(environment.variables);
    if (keys === null) throw new UserError("there are no keys: set ROSLIN_PAYLOAD_KEY, or make a key with roslin codec --new-key FILE");
    const origins = (values.ui ?? (await ownUi(environment.home))).map(originOf);
    const token = environment.variables["ROSLIN_CODEC_TOKEN"] || null;
    const server = codecServer(new EncryptionCodec(keys), { origins, token });
    server.listen(values.port === undefined ? PORT : wholeNumber("--port", values.port), "127.0.0.1");
    await once(server, "listening");
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const auth = token === null ? "" : ' --codec-auth "Bearer $ROSLIN_CODEC_TOKEN"';
    console.log(
      `the codec server listens; Ctrl-C ends it\n  CLI  temporal workflow show --codec-endpoint ${endpoint}${auth} --workflow-id ID`,
    );
    if (token === null)
      console.log("  every user of this machine may ask it: set ROSLIN_CODEC_TOKEN to let in only callers that know the token");
    if (origins.length > 0 && token === null)
      console.log(`  UI   glasses icon, remote codec endpoint ${endpoint}; for pages of ${origins.join(" ")}`);
    try {
      await untilInterrupted((signal) => once(signal, "abort"));
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
    } finally {
      server.close();
      server.closeAllConnections();
    }
    return 0;
  },
};

/** The UI of the running `up`, under both names of this machine. */
async function ownUi(home: string): Promise<string[]> {
  const address = (await runningState(home))?.temporal?.uiAddress;
  return address === undefined ? [] : [address, address.replace("127.0.0.1", "localhost")];
}

function originOf(text: string): string {
  if (/^https?:\/\/[^/]+\/?$/.test(text)) return text.replace(/\/$/, "");
  throw new UserError("--ui must be an origin, such as http://127.0.0.1:8233", { got: text });
}
