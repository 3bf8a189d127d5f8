// The function as Lambda runs it. The AWS SDK for JavaScript v3 is the runtime's own.
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

import { createHandler } from "./handler.mjs";
import { createTokens } from "./tokens.mjs";

const secretsManager = new SecretsManagerClient({});

const readSecret = async () => {
  const answer = await secretsManager.send(new GetSecretValueCommand({ SecretId: process.env.SECRET_ID }));
  return answer.SecretString;
};

// Made once for each execution environment, so that a token is kept between invocations.
const tokens = createTokens({ readSecret, now: Date.now });

export const handler = createHandler({ tokens, fetch, apiUrl: process.env.API_URL });
