"""What bin/fuzz tells schemathesis of BaatCheet: who asks, which things there are, and where webhooks may go."""

import json
import os
import urllib.error
import urllib.request
import uuid

import schemathesis
from schemathesis import GenerationMode

API = os.environ["BAATCHEET_API"]
PASSWORD = "correct horse battery"
# Ids of what was made, newest last, by the path of their list.
THINGS = {}


def post(path, body):
    request = urllib.request.Request(
        API + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@schemathesis.auth(refresh_interval=300, retry_on=[401])
class User:
    """A user, logged in anew when a request has ended the session, and another one when the account is gone."""

    def __init__(self):
        self.email = None

    def get(self, case, context):
        try:
            if self.email is not None:
                return post("/api/v1/auth/login", {"email": self.email, "password": PASSWORD})["accessToken"]
        except urllib.error.HTTPError:
            pass
        self.email = f"fuzz-{uuid.uuid4()}@example.com"
        return post("/api/v1/auth/register", {"email": self.email, "password": PASSWORD})["accessToken"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def filter_body(context, body):
    """A form has no empty lists: they would be sent as nothing at all, which is no bad value."""
    return not (isinstance(body, dict) and "file" in body and [] in body.values())


def is_made_up(value):
    """Whether it is an id that names nothing."""
    try:
        return str(uuid.UUID(value)) == value and not any(value in ids for ids in THINGS.values())
    except (AttributeError, TypeError, ValueError):
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes good requests go further: ids that are made up name nothing, and hosts that are do not resolve."""
    path = ""
    for part in case.operation.path.split("/")[1:]:
        if part.startswith("{") and part.endswith("}"):
            name, ids = part[1:-1], THINGS.get(path)
            if ids and is_made_up(case.path_parameters.get(name)):
                case.path_parameters[name] = ids[-1]
        path += "/" + part
    is_good = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if is_good and isinstance(case.body, dict) and str(case.body.get("url")).startswith("https://"):
        case.body["url"] = "http://127.0.0.1:9/hook"


@schemathesis.hook
def after_call(context, case, response):
    """Remembers what was made and forgets what is gone."""
    path = case.operation.path.removesuffix("/{id}")
    if case.operation.method == "delete":
        if path == "/api/v1/users/me":
            if response.status_code == 204:
                THINGS.clear()
            return
        ids = THINGS.get(path, [])
        if response.status_code == 204 and case.path_parameters.get("id") in ids:
            ids.remove(case.path_parameters["id"])
        return
    if case.operation.method != "post" or response.status_code not in (200, 201, 202):
        return
    try:
        body = response.json()
    except ValueError:
        return
    if not isinstance(body, dict):
        return
    # `{id, …}` of what the path lists, or `{attachment: {id, …}, job: {id, …}}`.
    made = {path: body} if "id" in body else {f"/api/v1/{name}s": part for name, part in body.items()}
    for path, thing in made.items():
        ids = THINGS.setdefault(path, [])
        if isinstance(thing, dict) and "id" in thing and thing["id"] not in ids:
            ids.append(thing["id"])
