import assert from "node:assert/strict";
import { test } from "node:test";

import { createHandler } from "../function/handler.mjs";
import { createTokens, MARGIN_MS } from "../function/tokens.mjs";

const START = Date.parse("2026-11-22T10:00:00Z");
const HOUR = 3_600_000;

/** The document of one generation, as Evergrant publishes it. */
const document = (generation, expiresAt) => ({
  connection: "keap/main",
  generation,
  access_token: `access-${generation}`,
  expires_at: new Date(expiresAt).toISOString(),
  headers: { Authorization: `Bearer access-${generation}` },
  required_headers: [],
  reject_statuses: [401],
});

/** A secret, a clock and an API that accepts one token. */
function world() {
  const it = { now: START, secret: document(1, START + HOUR), accepted: "Bearer access-1", reads: 0, calls: [] };
  it.tokens = createTokens({
    readSecret: async () => {
      it.reads += 1;
      if (it.secret === null) throw new Error("throttled");
      return JSON.stringify(it.secret);
    },
    now: () => it.now,
  });
  const fetch = async (url, { headers, redirect }) => {
    assert.equal(redirect, "error");
    it.calls.push(headers.Authorization);
    return headers.Authorization === it.accepted ? Response.json({ count: 3 }) : new Response("{}", { status: 401 });
  };
  it.handler = createHandler({ tokens: it.tokens, fetch, apiUrl: "https://api.example.com" });
  return it;
}

test("the secret is read once while its token lives", async () => {
  const it = world();
  assert.deepEqual(await it.handler(), { contacts: 3 });
  it.now += HOUR - MARGIN_MS;
  assert.deepEqual(await it.handler(), { contacts: 3 });
  assert.equal(it.reads, 1);
});

test("the secret is read again shortly before its token expires", async () => {
  const it = world();
  await it.handler();
  it.now += HOUR - MARGIN_MS + 1;
  it.secret = document(2, it.now + HOUR);
  it.accepted = "Bearer access-2";
  assert.deepEqual(await it.handler(), { contacts: 3 });
  assert.deepEqual(it.calls, ["Bearer access-1", "Bearer access-2"]);
});

test("a token that could not be refreshed is sent until it expires", async () => {
  const it = world();
  it.now += HOUR - 1;
  assert.deepEqual(await it.handler(), { contacts: 3 });
  it.now += 1;
  await assert.rejects(it.handler(), /expired/);
  assert.equal(it.calls.length, 1);
});

test("a rejected token is replaced by the one in the secret", async () => {
  const it = world();
  await it.handler();
  it.secret = document(2, START + 2 * HOUR);
  it.accepted = "Bearer access-2";
  assert.deepEqual(await it.handler(), { contacts: 3 });
  assert.deepEqual(it.calls.slice(1), ["Bearer access-1", "Bearer access-2"]);
});

test("a rejected token without a newer one is sent once", async () => {
  const it = world();
  it.accepted = "another";
  await assert.rejects(it.handler(), /status 401/);
  assert.equal(it.calls.length, 1);
});

test("calls at the same time share one read", async () => {
  const it = world();
  await Promise.all([it.handler(), it.handler(), it.handler()]);
  assert.equal(it.reads, 1);
});

test("a token that lives is sent although the secret cannot be read", async () => {
  const it = world();
  await it.handler();
  it.now += HOUR - 1;
  it.secret = null;
  assert.deepEqual(await it.handler(), { contacts: 3 });
  it.now += 1;
  await assert.rejects(it.handler(), /throttled/);
});

test("a failed read is not kept", async () => {
  const it = world();
  const { secret } = it;
  it.secret = null;
  await assert.rejects(it.handler(), /throttled/);
  it.secret = secret;
  assert.deepEqual(await it.handler(), { contacts: 3 });
});
