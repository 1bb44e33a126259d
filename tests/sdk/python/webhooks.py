"""The verifier of Standard Webhooks for Python: `python webhooks.py <REQUESTS`.

Each line of its input is a request as JSON: secret, headers, body (base64), expect ("accept" or "reject"), and why.
Prints a line of JSON: how many were accepted and rejected, and those that were not what was expected.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError


def refusal(request, body):
    """Why the library refuses it, if it does."""
    try:
        told = Webhook(request["secret"]).verify(body, request["headers"])
    # What it cannot decode it tells with Python's own errors, which are ValueErrors.
    except (WebhookVerificationError, EmptyWebhookSecretError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if told != json.loads(body):
        raise AssertionError(f"{told!r} is not what was sent: {request['why']}")
    return None


def main():
    summary = {"accepted": 0, "rejected": 0, "otherwise": []}
    for line in sys.stdin:
        request = json.loads(line)
        error = refusal(request, base64.b64decode(request["body"]))
        summary["rejected" if error else "accepted"] += 1
        if bool(error) != (request["expect"] == "reject"):
            summary["otherwise"].append(f"{request['why']}: {error or 'accepted'}")
    print(json.dumps(summary, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
