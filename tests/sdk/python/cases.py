"""The stock OpenAI SDK for Python, with strict validation of answers: `python cases.py CASE...`.

Prints a line of JSON for each case; ends with 1 if one fails. OPENAI_BASE_URL and OPENAI_API_KEY lead to the product;
other variables, named where they are read, tell what the test has prepared.
"""

import base64
import json
import os
import re
import struct
import sys
import time
import traceback

import openai
from openai import OpenAI
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

MODEL = "gpt-4o-mini"
# Of another provider each, so that what is refused here harms no other case.
LIMITED_MODEL = "llama-3.1-8b-instant"
AWAY_MODEL = "deepseek-flash"
# Their providers refuse what others have in messages.
STRICT_MODELS = ("llama-3.1-8b-instant", "gemini-2.5-flash")
SLASHED_MODEL = "example/our-model"
EMBEDDING_MODEL = "text-embedding-3-small"
# Nobody listens there.
NOWHERE = "http://127.0.0.1:2/v1"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "How the weather is.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def client(**more):
    return OpenAI(_strict_response_validation=True, **more)


def impatient(**more):
    """Without the SDK's own retries."""
    return client(max_retries=0, **more)


def ask(of, question, **more):
    more.setdefault("model", MODEL)
    return of.chat.completions.create(messages=[{"role": "user", "content": question}], **more)


def say(line):
    print(json.dumps(line, separators=(",", ":")), flush=True)


def equal(found, wanted, what="value"):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} is not {wanted!r}")


def holds(truth, what):
    if not truth:
        raise AssertionError(what)


def refused(kind, call):
    """Calls, and gives the error, which must be of just this class."""
    try:
        answer = call()
    except openai.OpenAIError as error:
        equal(type(error).__name__, kind.__name__, f"class of {error!r}")
        return error
    raise AssertionError(f"no {kind.__name__}, but {answer!r}")


def check_error(error, status):
    """What every error with a status has."""
    equal(error.status_code, status, "status")
    holds(error.request_id, "error.request_id")
    equal(error.request_id, error.response.headers.get("x-request-id"), "request id")
    holds(isinstance(error.body, dict), f"body {error.body!r}")
    equal({"message", "type", "param", "code"} - set(error.body), set(), "missing fields of the error")
    holds(isinstance(error.body["message"], str) and error.body["message"], "error.message")
    holds(isinstance(error.type, str), "error.type")


# --- chat ------------------------------------------------------------------------------------------------------------


@case
def chat():
    answer = ask(client(), "What is the sea?", max_tokens=64, temperature=0.5)
    equal(answer.object, "chat.completion", "object")
    equal(answer.model, MODEL, "model")
    holds(answer.id, "id")
    holds(abs(answer.created - time.time()) < 3600, f"created {answer.created}")
    equal(len(answer.choices), 1, "choices")
    choice = answer.choices[0]
    equal((choice.index, choice.finish_reason), (0, "stop"), "choice")
    equal((choice.message.role, choice.message.content), ("assistant", "Salt and water."), "message")
    holds(not choice.message.tool_calls, "no calls")
    usage = answer.usage
    equal((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (11, 3, 14), "usage")
    holds(answer._request_id, "x-request-id of a success")


@case
def messages():
    """Instructions, parts, and what was said before go along."""
    answer = client().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Be short."},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hi."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": [{"type": "text", "text": "What is the sea?"}], "name": "ana"},
        ],
    )
    equal(answer.choices[0].message.content, "Salt and water.", "content")


@case
def parameters():
    """What applications send besides, and OpenAI takes."""
    answer = ask(
        client(),
        "What is the sea?",
        n=1,
        top_p=1,
        seed=7,
        stop=["END"],
        presence_penalty=0,
        frequency_penalty=0,
        logprobs=False,
        user="user-1",
        safety_identifier="user-1",
        metadata={"purpose": "test"},
        store=False,
        service_tier="auto",
        response_format={"type": "text"},
        max_completion_tokens=64,
    )
    equal(answer.choices[0].message.content, "Salt and water.", "content")


@case
def unknown_parameter():
    """Tolerated, or refused by its name."""
    try:
        answer = ask(client(), "What is the sea?", extra_body={"no_such_parameter": 1})
    except openai.BadRequestError as error:
        check_error(error, 400)
        holds("no_such_parameter" in error.message, error.message)
        return {"refused": True}
    equal(answer.choices[0].message.content, "Salt and water.", "content")
    return {"refused": False}


# Something plausible for each parameter that the SDK knows, and for what it calls differently.
PLAUSIBLE = {
    "audio": {"format": "wav", "voice": "alloy"},
    "frequency_penalty": 0,
    "function_call": "auto",
    "functions": [{"name": "get_weather", "parameters": TOOL["function"]["parameters"]}],
    "logit_bias": {"1734": -1},
    "logprobs": True,
    "max_completion_tokens": 64,
    "max_tokens": 64,
    "metadata": {"purpose": "test"},
    "modalities": ["text"],
    "moderation": {"model": "omni-moderation-latest"},
    "n": 1,
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": "Salt and water."},
    "presence_penalty": 0,
    "prompt_cache_key": "sea",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "safety_identifier": "user-1",
    "seed": 7,
    "service_tier": "auto",
    "stop": ["END"],
    "store": False,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "tool_choice": "auto",
    "tools": [TOOL],
    "top_logprobs": 2,
    "top_p": 1,
    "user": "user-1",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}
# What cannot be had here; everything else is answered.
NOT_HERE = {"audio", "function_call", "functions", "web_search_options"}
# What goes along with others only.
TOGETHER = {
    "parallel_tool_calls": {"tools": [TOOL]},
    "stream_options": {"stream": True},
    "tool_choice": {"tools": [TOOL]},
    "top_logprobs": {"logprobs": True},
}


@case
def every_parameter():
    """A parameter that the SDK comes to know is never said to be unknown: it is answered, or refused for what it is."""
    known = set(CompletionCreateParamsBase.__annotations__)
    equal({"model", "messages"} - known, set(), "parameters that are no parameters any more")
    equal(known - {"model", "messages"}, set(PLAUSIBLE), "parameters that the SDK knows and this case does not")
    for name, value in PLAUSIBLE.items():
        more = {name: value, **TOGETHER.get(name, {})}
        try:
            answer = ask(impatient(), "What is the sea?", **more)
            if more.get("stream"):
                holds(list(answer), name)
            else:
                equal(answer.choices[0].message.content, "Salt and water.", name)
            holds(name not in NOT_HERE, f"{name} is taken")
        except openai.BadRequestError as error:
            check_error(error, 400)
            holds(error.code != "unknown_parameter", f"{name}: {error.message}")
            holds(name in NOT_HERE, f"{name}: {error.message}")
            equal(error.param, name, "param")


def read(stream, usage_wanted):
    """Joins a stream, after looking at what every chunk has."""
    chunks = list(stream)
    holds(chunks, "chunks")
    equal({chunk.id for chunk in chunks}, {chunks[0].id}, "ids")
    equal({chunk.object for chunk in chunks}, {"chat.completion.chunk"}, "objects")
    equal({chunk.model for chunk in chunks}, {MODEL}, "models")
    equal(len({chunk.created for chunk in chunks}), 1, "times of creation")
    if usage_wanted:
        last = chunks.pop()
        equal(last.choices, [], "choices of the chunk with the usage")
        holds(last.usage, "usage of the last chunk")
        for chunk in chunks:
            holds("usage" in chunk.model_fields_set, "usage: null in each chunk")
    else:
        last = None
    for chunk in chunks:
        equal(chunk.usage, None, "usage of a chunk")
        equal([choice.index for choice in chunk.choices], [0], "indexes")
    choices = [chunk.choices[0] for chunk in chunks]
    equal([choice.delta.role for choice in choices if choice.delta.role], ["assistant"], "role, once")
    equal(choices[0].delta.role, "assistant", "role of the first chunk")
    equal([choice.finish_reason for choice in choices[:-1] if choice.finish_reason], [], "early finish reasons")
    text = "".join(choice.delta.content or "" for choice in choices)
    return text, choices, choices[-1].finish_reason, last and last.usage


@case
def stream():
    text, _, finish, _ = read(ask(client(), "What is the sea?", stream=True), False)
    equal((text, finish), ("Salt and water.", "stop"))


@case
def stream_usage():
    answer = ask(client(), "What is the sea?", stream=True, stream_options={"include_usage": True})
    text, _, finish, usage = read(answer, True)
    equal((text, finish), ("Salt and water.", "stop"))
    equal((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (11, 3, 14), "usage")


@case
def stream_raw():
    """What goes over the line."""
    with client().chat.completions.with_streaming_response.create(
        model=MODEL, messages=[{"role": "user", "content": "What is the sea?"}], stream=True
    ) as response:
        equal(response.headers["content-type"].split(";")[0], "text/event-stream", "content type")
        holds(response.headers.get("x-request-id"), "x-request-id")
        lines = [line for line in response.iter_lines() if line]
    equal(lines[-1], "data: [DONE]", "last line")
    for line in lines:
        holds(line.startswith((":", "data: ")), f"line {line!r}")
    equal(len([line for line in lines if "[DONE]" in line]), 1, "marks of the end")


# --- tools -----------------------------------------------------------------------------------------------------------


def answer_tool(of, call_id, arguments, text):
    """The second request, with the tool's result."""
    call = {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    answer = of.chat.completions.create(
        model=MODEL,
        tools=[TOOL],
        messages=[
            {"role": "user", "content": "What is the weather in Lahore?"},
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": '{"celsius": 31}'},
        ],
    )
    choice = answer.choices[0]
    equal((choice.message.content, choice.finish_reason), ("31 degrees.", "stop"), "answer")


@case
def tools():
    answer = ask(client(), "What is the weather in Lahore?", tools=[TOOL], tool_choice="auto")
    choice = answer.choices[0]
    equal(choice.finish_reason, "tool_calls", "finish reason")
    holds(not choice.message.content, "no words")
    equal(len(choice.message.tool_calls), 1, "calls")
    call = choice.message.tool_calls[0]
    equal((call.id, call.type, call.function.name), ("call_1", "function", "get_weather"), "call")
    equal(json.loads(call.function.arguments), {"city": "Lahore"}, "arguments")
    answer_tool(client(), call.id, call.function.arguments, None)


@case
def stream_tools():
    answer = ask(client(), "What is the weather in Lahore?", tools=[TOOL], parallel_tool_calls=True, stream=True)
    text, choices, finish, _ = read(answer, False)
    equal((text, finish), ("", "tool_calls"))
    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or []]
    equal({piece.index for piece in pieces}, {0}, "indexes")
    first, rest = pieces[0], pieces[1:]
    equal((first.id, first.type, first.function.name), ("call_1", "function", "get_weather"), "first piece")
    holds(rest, "more pieces")
    for piece in rest:
        equal((piece.id, piece.function.name), (None, None), "later piece")
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    equal(json.loads(arguments), {"city": "Lahore"}, "arguments")
    answer_tool(client(), first.id, arguments, "")


@case
def tools_sent_back():
    """What most applications do: the answer itself goes back, with the result after it."""
    question = {"role": "user", "content": "Think of the weather in Lahore."}

    def ask_all(model, *messages):
        return client().chat.completions.create(model=model, tools=[TOOL], messages=[question, *messages])

    for model in STRICT_MODELS:
        message = ask_all(model).choices[0].message
        equal(message.reasoning_content, "Hm.", "thoughts")
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"celsius": 31}'}
        for said in (message, message.model_dump(), message.model_dump(exclude_none=True)):
            equal(ask_all(model, said, result).choices[0].message.content, "31 degrees.", "answer")


@case
def stream_two_tools():
    """Two calls at once keep their indexes."""
    pieces = {}
    for chunk in ask(client(), "What is the weather in Lahore and Delhi?", tools=[TOOL], stream=True):
        for piece in chunk.choices[0].delta.tool_calls or []:
            call = pieces.setdefault(piece.index, [piece.id, piece.function.name, ""])
            call[2] += piece.function.arguments or ""
    calls = [(call, name, json.loads(arguments)["city"]) for _, (call, name, arguments) in sorted(pieces.items())]
    equal(calls, [("call_1", "get_weather", "Lahore"), ("call_2", "get_weather", "Delhi")], "calls")


# --- models and embeddings -------------------------------------------------------------------------------------------


@case
def models():
    listed = client().models.list()
    equal(listed.object, "list", "object")
    models = {model.id: model for model in listed}
    holds(MODEL in models and SLASHED_MODEL in models, f"models {sorted(models)}")
    for model in models.values():
        equal(model.object, "model", "object of a model")
        holds(model.owned_by and model.created >= 0, f"{model!r}")
    for name in (MODEL, SLASHED_MODEL):
        equal(client().models.retrieve(name), models[name], "the same model alone")
    answer = ask(client(), "What is the sea?", model=SLASHED_MODEL)
    equal((answer.model, answer.choices[0].message.content), (SLASHED_MODEL, "Salt and water."), "its answer")
    error = refused(openai.NotFoundError, lambda: client().models.retrieve("no/such-model"))
    check_error(error, 404)
    equal(error.code, "model_not_found", "code")


@case
def embeddings():
    texts = ["salt", "water"]
    # The SDK asks for base64 unless told otherwise. What it decodes is no list of numbers when it is validated strictly,
    # by OpenAI's own answers too, so this one call is of a client that is not strict.
    default = OpenAI().embeddings.create(model=EMBEDDING_MODEL, input=texts)
    floats = client().embeddings.create(model=EMBEDDING_MODEL, input=texts, encoding_format="float")
    for answer in (default, floats):
        equal((answer.object, answer.model), ("list", EMBEDDING_MODEL), "embeddings")
        equal([one.index for one in answer.data], [0, 1], "indexes")
        equal({one.object for one in answer.data}, {"embedding"}, "objects")
        holds(answer.usage.prompt_tokens > 0, "prompt tokens")
        equal(answer.usage.total_tokens, answer.usage.prompt_tokens, "total tokens")
        # What the provider makes of a text: its length in bytes, a half, minus one, and its position.
        for position, (one, text) in enumerate(zip(answer.data, texts)):
            equal(list(one.embedding), [float(len(text)), 0.5, -1.0, float(position)], "vector")
    raw = OpenAI().embeddings.create(model=EMBEDDING_MODEL, input="salt", encoding_format="base64")
    packed = base64.b64decode(raw.data[0].embedding)
    equal(struct.unpack("<4f", packed), (4.0, 0.5, -1.0, 0.0), "base64")
    error = refused(
        openai.NotFoundError, lambda: client().embeddings.create(model="no-such-model", input="salt")
    )
    check_error(error, 404)
    equal(error.code, "model_not_found", "code")


# --- sounds ----------------------------------------------------------------------------------------------------------


@case
def transcription():
    """SDK_SOUND is a sound in which the provider hears SDK_SAID, from the beginning on."""
    said = os.environ["SDK_SAID"]
    path = os.environ["SDK_SOUND"]

    def hear(**more):
        with open(path, "rb") as sound:
            return client().audio.transcriptions.create(model="whisper-1", file=sound, **more)

    default = hear()
    equal(default.text.strip(), said, "json")
    equal(hear(response_format="json", language="en").text.strip(), said, "json")
    equal(hear(response_format="text").strip(), said, "text")
    verbose = hear(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    equal(verbose.text.strip(), said, "verbose_json")
    holds(verbose.language, "language")
    holds(float(verbose.duration) > 0, f"duration {verbose.duration}")
    equal("".join(segment.text for segment in verbose.segments).strip(), said, "segments")
    equal([word.word for word in verbose.words], said.split(), "words")
    srt = hear(response_format="srt")
    holds(re.match(r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n", srt) and said in srt, f"srt {srt!r}")
    vtt = hear(response_format="vtt")
    holds(vtt.startswith("WEBVTT\n\n"), f"vtt {vtt!r}")
    holds(re.search(r"\b00:00\.\d{3} --> ", vtt) and said in vtt, f"vtt {vtt!r}")


@case
def no_sound():
    call = lambda: impatient().audio.transcriptions.create(model="whisper-1", file=("a.wav", b"no sound at all"))
    check_error(refused(openai.BadRequestError, call), 400)


# --- errors ----------------------------------------------------------------------------------------------------------


@case
def authentication():
    for key in ("bck_wrong", "x" * 47):
        error = refused(openai.AuthenticationError, lambda: ask(impatient(api_key=key), "Hi"))
        check_error(error, 401)
        equal(error.code, "invalid_api_key", "code")
        holds(key not in error.message, "the key is not said again")
    check_error(refused(openai.AuthenticationError, lambda: impatient(api_key="x").models.list()), 401)


@case
def permission():
    """SDK_READ_KEY is a key that may only read."""
    reader = impatient(api_key=os.environ["SDK_READ_KEY"])
    holds(list(reader.models.list()), "it may read")
    check_error(refused(openai.PermissionDeniedError, lambda: ask(reader, "Hi")), 403)


@case
def not_found():
    error = refused(openai.NotFoundError, lambda: ask(impatient(), "Hi", model="gpt-4o-mni"))
    check_error(error, 404)
    equal(error.code, "model_not_found", "code")
    holds("gpt-4o-mni" in error.message, error.message)
    call = lambda: ask(impatient(), "Hi", model="gpt-4o-mni", stream=True)
    check_error(refused(openai.NotFoundError, call), 404)
    call = lambda: impatient().get("/no/such/route", cast_to=object)
    check_error(refused(openai.NotFoundError, call), 404)


@case
def bad_request():
    def param(wanted, **more):
        error = refused(openai.BadRequestError, lambda: impatient().chat.completions.create(**more))
        check_error(error, 400)
        equal(error.type, "invalid_request_error", "type")
        holds((error.param or "").startswith(wanted), f"param {error.param!r} is not {wanted!r}")

    hi = [{"role": "user", "content": "Hi"}]
    param("messages", model=MODEL, messages=[])
    param("messages", model=MODEL, messages=[{"role": "nobody", "content": "Hi"}])
    param("temperature", model=MODEL, messages=hi, temperature=9)
    param("temperature", model=MODEL, messages=hi, temperature="warm")
    param("model", model=7, messages=hi)


@case
def conflict():
    """SDK_ARCHIVED is a conversation that is only read."""
    body = {"conversation_id": os.environ["SDK_ARCHIVED"]}
    check_error(refused(openai.ConflictError, lambda: ask(impatient(), "Hi", extra_body=body)), 409)


@case
def rate_limit():
    """The provider wants to be left alone for a minute."""
    error = refused(openai.RateLimitError, lambda: ask(impatient(), "Leave me.", model=LIMITED_MODEL))
    check_error(error, 429)
    headers = error.response.headers
    holds(50 <= float(headers["retry-after"]) <= 60, f"retry-after {headers['retry-after']}")
    holds(50_000 <= float(headers["retry-after-ms"]) <= 60_000, f"retry-after-ms {headers['retry-after-ms']}")
    # Now it is not even asked.
    again = refused(openai.RateLimitError, lambda: ask(impatient(), "Leave me.", model=LIMITED_MODEL, stream=True))
    check_error(again, 429)
    holds(float(again.response.headers["retry-after-ms"]) <= 60_000, "it is no longer")


@case
def server():
    """The provider is down."""
    error = refused(openai.InternalServerError, lambda: ask(impatient(), "Be away.", model=AWAY_MODEL))
    check_error(error, error.status_code)
    holds(error.status_code >= 500, "status")
    holds(isinstance(error.code, str), f"code {error.code!r}")


@case
def mid_stream():
    """The provider breaks off after the first word."""
    answer = ask(impatient(), "Break off.", stream=True)
    words = []

    def listen():
        for chunk in answer:
            words.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

    error = refused(openai.APIError, listen)
    equal("".join(words), "Half", "words before")
    holds(error.message and isinstance(error.body, dict), f"{error!r}")
    equal({"message", "type", "param", "code"} - set(error.body), set(), "missing fields of the error")
    holds(answer.response.headers.get("x-request-id"), "x-request-id")


@case
def cut():
    """The same in one piece."""
    error = refused(openai.InternalServerError, lambda: ask(impatient(), "Break off."))
    check_error(error, error.status_code)


@case
def timeout():
    """The client's own patience ends."""
    refused(openai.APITimeoutError, lambda: ask(impatient(timeout=0.5), "Be silent."))


@case
def connection():
    """Nobody is there."""
    refused(openai.APIConnectionError, lambda: ask(impatient(base_url=NOWHERE), "Hi"))


# --- retries ---------------------------------------------------------------------------------------------------------


def counted(call):
    """Calls, and tells how often the SDK asked again and how long all took."""
    began = time.monotonic()
    response = call()
    return response, time.monotonic() - began


@case
def retry_limit():
    """Refused once for a moment; then answered."""
    of = client()
    response, took = counted(lambda: ask(of.with_raw_response, "Be busy once."))
    equal(response.retries_taken, 1, "retries")
    equal(response.parse().choices[0].message.content, "At last.", "answer")
    # The product leaves an account alone for a second at least, and the SDK waits for as long as it is told.
    holds(took >= 0.9, f"{took} s")


@case
def retry_stream():
    answer = list(ask(client(), "Be busy once more.", stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices), "At last.", "answer")


@case
def retry_server():
    """Away until the product gives up once; then answered."""
    response = ask(client().with_raw_response, "Be away twice.", model=AWAY_MODEL)
    equal(response.retries_taken, 1, "retries")
    equal(response.parse().choices[0].message.content, "At last.", "answer")


@case
def no_retry_day():
    """The day is used up: a retry would be in vain."""
    for _ in range(2):
        call = lambda: ask(client(max_retries=5), "Be spent.", model=LIMITED_MODEL)
        error, took = counted(lambda: refused(openai.RateLimitError, call))
        check_error(error, 429)
        equal(error.response.headers.get("x-should-retry"), "false", "x-should-retry")
        equal(error.response.request.headers["x-stainless-retry-count"], "0", "retries")
        holds(float(error.response.headers["retry-after"]) > 3600, "the true wait")
        holds(took < 5, f"{took} s")


@case
def no_retry_request():
    """What is wrong stays wrong."""
    error = refused(openai.NotFoundError, lambda: ask(client(max_retries=5), "Hi", model="gpt-4o-mni"))
    equal(error.response.request.headers["x-stainless-retry-count"], "0", "retries")


# --- cancellation ----------------------------------------------------------------------------------------------------


@case
def cancel():
    """Closes a stream after its first word, and stays alive until the test has seen what comes of it."""
    answer = ask(client(), "Talk.", stream=True)
    for chunk in answer:
        if chunk.choices and chunk.choices[0].delta.content:
            equal(chunk.choices[0].delta.content, "One ", "first word")
            break
    say({"case": "cancel", "reading": True})
    sys.stdin.readline()
    answer.close()
    say({"case": "cancel", "closed": True})
    sys.stdin.readline()


# --- conversations ---------------------------------------------------------------------------------------------------


@case
def conversation():
    """SDK_CONVERSATION is a conversation of the caller; SDK_FOREIGN one of somebody else."""
    body = {"conversation_id": os.environ["SDK_CONVERSATION"]}
    first = ask(client(), "My name is Ana.", extra_body=body)
    equal(first.choices[0].message.content, "Hello, Ana.", "first answer")
    text, _, finish, usage = read(
        ask(client(), "What is my name?", extra_body=body, stream=True, stream_options={"include_usage": True}), True
    )
    equal((text, finish), ("Your name is Ana.", "stop"), "second answer")
    holds(usage.prompt_tokens > 0, "usage")
    for foreign in (os.environ["SDK_FOREIGN"], "00000000-0000-7000-8000-000000000000"):
        body = {"conversation_id": foreign}
        check_error(refused(openai.NotFoundError, lambda: ask(impatient(), "Hi", extra_body=body)), 404)
    error = refused(openai.BadRequestError, lambda: ask(impatient(), "Hi", extra_body={"conversation_id": "no id"}))
    check_error(error, 400)
    equal(error.param, "conversation_id", "param")


@case
def conversation_no_retry():
    """SDK_CONVERSATION again: the question is stored, so that a retry would say it once more."""
    body = {"conversation_id": os.environ["SDK_CONVERSATION"]}
    for more in ({}, {"stream": True}):
        call = lambda: ask(client(), "Be away.", model=AWAY_MODEL, extra_body=body, **more)
        error = refused(openai.InternalServerError, call)
        check_error(error, error.status_code)
        equal(error.response.headers.get("x-should-retry"), "false", "x-should-retry")
        equal(error.response.request.headers["x-stainless-retry-count"], "0", "retries")


def main():
    failed = False
    for name in sys.argv[1:]:
        line = {"case": name, "ok": True}
        try:
            line.update(CASES[name]() or {})
        except Exception:
            failed = True
            line = {"case": name, "ok": False, "error": traceback.format_exc()}
        say(line)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
