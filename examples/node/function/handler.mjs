// Counts the contacts of a Keap account.

/**
 * Return the handler.
 *
 * @param {object} given
 * @param {{current: Function, replacement: Function}} given.tokens from tokens.mjs
 * @param {typeof globalThis.fetch} given.fetch
 * @param {string} given.apiUrl scheme and host of the API
 */
export function createHandler({ tokens, fetch, apiUrl }) {
  const call = (token) =>
    fetch(`${apiUrl}/crm/rest/v1/contacts?limit=1`, {
      headers: { accept: "application/json", ...token.headers },
      redirect: "error", // the token's headers go to no other host
      signal: AbortSignal.timeout(10_000),
    });

  return async function handler() {
    let token = await tokens.current();
    let response = await call(token);
    if (token.reject_statuses.includes(response.status)) {
      const newer = await tokens.replacement(token);
      if (newer !== null) {
        await response.body?.cancel();
        token = newer;
        response = await call(token);
      }
    }
    if (!response.ok) {
      throw new Error(`The API answered with status ${response.status}.`);
    }
    const { count } = await response.json();
    return { contacts: count };
  };
}
