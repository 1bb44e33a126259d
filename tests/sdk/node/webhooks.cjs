// The verifier of Standard Webhooks for Node: `node webhooks.cjs <REQUESTS`, with it in NODE_PATH.
//
// Does what webhooks.py does.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const { Webhook, WebhookVerificationError } = require('standardwebhooks');

// Why the library refuses it, if it does.
function refusal(request, body) {
  let webhook;
  try {
    webhook = new Webhook(request.secret);
  } catch (error) {
    return error.message;
  }
  let told;
  try {
    told = webhook.verify(body, request.headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return error.message;
  }
  assert.deepEqual(told, JSON.parse(body.toString()), request.why);
  return null;
}

async function main() {
  const summary = { accepted: 0, rejected: 0, otherwise: [] };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const error = refusal(request, Buffer.from(request.body, 'base64'));
    summary[error === null ? 'accepted' : 'rejected'] += 1;
    if ((error !== null) !== (request.expect === 'reject')) {
      summary.otherwise.push(`${request.why}: ${error ?? 'accepted'}`);
    }
  }
  console.log(JSON.stringify(summary));
}

main();
