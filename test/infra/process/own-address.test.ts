import assert from "node:assert/strict";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { interfaceAddress, isLoopback, ownAddress } from "../../../infra/process/own-address.js";

test("a server on this machine is reached by loopback", async () => {
  for (const server of ["127.0.0.1:7233", "localhost:7233", "http://127.0.0.1:7233", "127.0.0.1"])
    assert.ok(isLoopback(await ownAddress(server)), server);
});

test("a server elsewhere is reached from an address of one of this machine's interfaces", async () => {
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  // a network kept for documentation: nobody answers there, and nobody is asked
  const found = await ownAddress("192.0.2.1:7233");
  assert.equal(isIP(found), 4);
  assert.ok(own.includes(found) || found === "127.0.0.1", found);
  const elsewhere = own.some((address) => isIP(address) === 4 && !isLoopback(address));
  if (elsewhere) assert.ok(!isLoopback(found), found);
});

test("an address that is named has to be one of this machine's", async () => {
  assert.equal(await interfaceAddress("127.0.0.1"), "127.0.0.1");
  assert.ok(isLoopback(await interfaceAddress("localhost")));
  await assert.rejects(interfaceAddress("192.0.2.7"), /no network interface.*ROSLIN_ADDRESS.*got=192\.0\.2\.7, expected=.*127\.0\.0\.1/);
  await assert.rejects(interfaceAddress("no-such-host.invalid"), /got=no-such-host\.invalid, which is=unknown to the name server/);
});

test("a name without an address, and a server that is none, leave loopback", async () => {
  for (const server of ["no-such-host.invalid:7233", ":"]) assert.ok(isLoopback(await ownAddress(server)), server);
});

test("loopback is told from what other machines may reach", () => {
  for (const address of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]) assert.ok(isLoopback(address), address);
  for (const address of ["10.0.0.1", "fd00::1", "127-a.example", "worker-0"]) assert.ok(!isLoopback(address), address);
});
