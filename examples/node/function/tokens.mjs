// The token in the secret, kept until shortly before it expires.

/** A token with less than this left is read again, in milliseconds. Evergrant replaces it ten minutes before its end. */
export const MARGIN_MS = 60_000;

/**
 * Return the reader of one connection's token.
 *
 * @param {object} given
 * @param {() => Promise<string>} given.readSecret reads the secret's value, Evergrant's document in JSON
 * @param {() => number} given.now milliseconds since the epoch
 */
export function createTokens({ readSecret, now }) {
  let kept = null; // the document that was read last
  let reading = null; // a read in flight, which all calls at that time share

  const left = (token) => Date.parse(token.expires_at) - now();

  const read = () => {
    reading ??= readSecret()
      .then((text) => (kept = JSON.parse(text)))
      .finally(() => (reading = null));
    return reading;
  };

  return {
    /** The token to send. Throws where it has expired, because Evergrant could not refresh it. */
    async current() {
      if (kept === null || left(kept) < MARGIN_MS) {
        try {
          await read();
        } catch (error) {
          if (kept === null || left(kept) <= 0) throw error;
        }
      }
      if (left(kept) <= 0) {
        throw new Error(`The token of ${kept.connection} expired at ${kept.expires_at}: see \`evergrant status\`.`);
      }
      return kept;
    },

    /** Another token than the one that the API has just rejected, or null where the secret has no other. */
    async replacement(rejected) {
      const token = await read();
      return token.access_token === rejected.access_token ? null : token;
    },
  };
}
