// The stock OpenAI SDK for Node: `node cases.cjs CASE...`, with it in NODE_PATH.
//
// Prints a line of JSON for each case; ends with 1 if one fails. OPENAI_BASE_URL and OPENAI_API_KEY lead to the product;
// other variables, named where they are read, tell what the test has prepared. The cases are those of cases.py.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const readline = require('node:readline');

// Node 18, which Debian 12 has, keeps it here; the SDK says so.
globalThis.File ??= require('node:buffer').File;

const { OpenAI, APIConnectionError, APIConnectionTimeoutError, APIError, toFile } = require('openai');

const MODEL = 'gpt-4o-mini';
// Of another provider each, so that what is refused here harms no other case.
const LIMITED_MODEL = 'llama-3.1-8b-instant';
const AWAY_MODEL = 'deepseek-flash';
// Their providers refuse what others have in messages.
const STRICT_MODELS = ['llama-3.1-8b-instant', 'gemini-2.5-flash'];
const SLASHED_MODEL = 'example/our-model';
const EMBEDDING_MODEL = 'text-embedding-3-small';
// Nobody listens there, and fetch has nothing against that port.
const NOWHERE = 'http://127.0.0.1:2/v1';
const TOOL = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'How the weather is.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const client = (more = {}) => new OpenAI(more);

// Without the SDK's own retries.
const impatient = (more = {}) => client({ maxRetries: 0, ...more });

const ask = (of, question, more = {}) =>
  of.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: question }], ...more });

// Calls, and gives the error, which must be of just this class.
async function refused(kind, call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    assert.equal(error.constructor.name, kind.name, String(error));
    return error;
  }
  assert.fail(`no ${kind.name}, but ${JSON.stringify(answer)}`);
}

// What every error with a status has.
function checkError(error, status) {
  assert.equal(error.status, status);
  assert.ok(error.requestID);
  assert.equal(error.requestID, error.headers.get('x-request-id'));
  for (const field of ['message', 'type', 'param', 'code']) assert.ok(field in error.error, `no ${field}`);
  assert.ok(typeof error.error.message === 'string' && error.error.message);
  assert.equal(typeof error.type, 'string');
}

// Joins a stream, after looking at what every chunk has.
async function read(stream, usageWanted) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.ok(chunks.length > 0);
  for (const chunk of chunks) {
    assert.equal(chunk.id, chunks[0].id);
    assert.equal(chunk.object, 'chat.completion.chunk');
    assert.equal(chunk.model, MODEL);
    assert.equal(chunk.created, chunks[0].created);
  }
  let last = null;
  if (usageWanted) {
    last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage);
    for (const chunk of chunks) assert.equal(chunk.usage, null, 'usage: null in each chunk');
  }
  for (const chunk of chunks) {
    assert.equal(chunk.usage ?? null, null);
    assert.deepEqual(chunk.choices.map((choice) => choice.index), [0]);
  }
  const choices = chunks.map((chunk) => chunk.choices[0]);
  assert.deepEqual(choices.map((choice) => choice.delta.role).filter(Boolean), ['assistant'], 'role, once');
  assert.equal(choices[0].delta.role, 'assistant');
  assert.ok(choices.slice(0, -1).every((choice) => choice.finish_reason === null), 'finish_reason: null until the last');
  return {
    text: choices.map((choice) => choice.delta.content ?? '').join(''),
    pieces: choices.flatMap((choice) => choice.delta.tool_calls ?? []),
    finish: choices.at(-1).finish_reason,
    usage: last && last.usage,
  };
}

// The second request, with the tool's result.
async function answerTool(of, id, args, text) {
  const call = { id, type: 'function', function: { name: 'get_weather', arguments: args } };
  const answer = await of.chat.completions.create({
    model: MODEL,
    tools: [TOOL],
    messages: [
      { role: 'user', content: 'What is the weather in Lahore?' },
      { role: 'assistant', content: text, tool_calls: [call] },
      { role: 'tool', tool_call_id: id, content: '{"celsius": 31}' },
    ],
  });
  assert.equal(answer.choices[0].message.content, '31 degrees.');
  assert.equal(answer.choices[0].finish_reason, 'stop');
}

const waitForLine = () =>
  new Promise((resolve) => {
    const lines = readline.createInterface({ input: process.stdin });
    lines.once('line', () => {
      lines.close();
      resolve();
    });
  });

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const cases = {
  async chat() {
    const { data: answer, request_id: requestId } = await ask(client(), 'What is the sea?', {
      max_tokens: 64,
      temperature: 0.5,
    }).withResponse();
    assert.ok(requestId);
    assert.equal(answer._request_id, requestId);
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.model, MODEL);
    assert.ok(answer.id);
    assert.ok(Math.abs(answer.created - Date.now() / 1000) < 3600, `created ${answer.created}`);
    assert.equal(answer.choices.length, 1);
    const [choice] = answer.choices;
    assert.equal(choice.index, 0);
    assert.equal(choice.finish_reason, 'stop');
    assert.equal(choice.message.role, 'assistant');
    assert.equal(choice.message.content, 'Salt and water.');
    const { prompt_tokens: asked, completion_tokens: said, total_tokens: all } = answer.usage;
    assert.deepEqual([asked, said, all], [11, 3, 14]);
  },

  // Instructions, parts, and what was said before go along.
  async messages() {
    const answer = await client().chat.completions.create({
      model: MODEL,
      messages: [
        { role: 'system', content: 'Be short.' },
        { role: 'developer', content: 'Be kind.' },
        { role: 'user', content: 'Hi.' },
        { role: 'assistant', content: 'Hello.' },
        { role: 'user', content: [{ type: 'text', text: 'What is the sea?' }], name: 'ana' },
      ],
    });
    assert.equal(answer.choices[0].message.content, 'Salt and water.');
  },

  // What applications send besides, and OpenAI takes.
  async parameters() {
    const answer = await ask(client(), 'What is the sea?', {
      n: 1,
      top_p: 1,
      seed: 7,
      stop: ['END'],
      presence_penalty: 0,
      frequency_penalty: 0,
      logprobs: false,
      user: 'user-1',
      safety_identifier: 'user-1',
      metadata: { purpose: 'test' },
      store: false,
      service_tier: 'auto',
      response_format: { type: 'text' },
      max_completion_tokens: 64,
    });
    assert.equal(answer.choices[0].message.content, 'Salt and water.');
  },

  // Tolerated, or refused by its name.
  async unknown_parameter() {
    try {
      const answer = await ask(client(), 'What is the sea?', { no_such_parameter: 1 });
      assert.equal(answer.choices[0].message.content, 'Salt and water.');
      return { refused: false };
    } catch (error) {
      assert.equal(error.constructor.name, 'BadRequestError', String(error));
      checkError(error, 400);
      assert.ok(error.message.includes('no_such_parameter'), error.message);
      return { refused: true };
    }
  },

  async stream() {
    const { text, finish } = await read(await ask(client(), 'What is the sea?', { stream: true }), false);
    assert.deepEqual([text, finish], ['Salt and water.', 'stop']);
  },

  async stream_usage() {
    const more = { stream: true, stream_options: { include_usage: true } };
    const { text, finish, usage } = await read(await ask(client(), 'What is the sea?', more), true);
    assert.deepEqual([text, finish], ['Salt and water.', 'stop']);
    assert.deepEqual([usage.prompt_tokens, usage.completion_tokens, usage.total_tokens], [11, 3, 14]);
  },

  // The SDK's own helper, which puts chunks together.
  async stream_helper() {
    const messages = [{ role: 'user', content: 'What is the weather in Lahore?' }];
    const stream = client().chat.completions.stream({ model: MODEL, messages, tools: [TOOL] });
    const [call] = (await stream.finalMessage()).tool_calls;
    assert.equal(call.function.name, 'get_weather');
    assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Lahore' });
  },

  async tools() {
    const answer = await ask(client(), 'What is the weather in Lahore?', { tools: [TOOL], tool_choice: 'auto' });
    const [choice] = answer.choices;
    assert.equal(choice.finish_reason, 'tool_calls');
    assert.ok(!choice.message.content);
    assert.equal(choice.message.tool_calls.length, 1);
    const [call] = choice.message.tool_calls;
    assert.deepEqual([call.id, call.type, call.function.name], ['call_1', 'function', 'get_weather']);
    assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Lahore' });
    await answerTool(client(), call.id, call.function.arguments, null);
  },

  async stream_tools() {
    const more = { tools: [TOOL], parallel_tool_calls: true, stream: true };
    const answer = await ask(client(), 'What is the weather in Lahore?', more);
    const { text, pieces, finish } = await read(answer, false);
    assert.deepEqual([text, finish], ['', 'tool_calls']);
    const [first, ...rest] = pieces;
    assert.ok(pieces.every((piece) => piece.index === 0));
    assert.deepEqual([first.id, first.type, first.function.name], ['call_1', 'function', 'get_weather']);
    assert.ok(rest.length > 0);
    assert.ok(rest.every((piece) => !piece.id && !piece.function.name));
    const args = pieces.map((piece) => piece.function.arguments ?? '').join('');
    assert.deepEqual(JSON.parse(args), { city: 'Lahore' });
    await answerTool(client(), first.id, args, '');
  },

  // What most applications do: the answer itself goes back, with the result after it.
  async tools_sent_back() {
    const question = { role: 'user', content: 'Think of the weather in Lahore.' };
    for (const model of STRICT_MODELS) {
      const about = (...messages) => ({ model, tools: [TOOL], messages: [question, ...messages] });
      const whole = (await client().chat.completions.create(about())).choices[0].message;
      // The SDK's own helper adds something to what it puts together.
      const together = await client().chat.completions.stream(about()).finalMessage();
      for (const message of [whole, together]) {
        const [call] = message.tool_calls;
        const result = { role: 'tool', tool_call_id: call.id, content: '{"celsius": 31}' };
        const answer = await client().chat.completions.create(about(message, result));
        assert.equal(answer.choices[0].message.content, '31 degrees.');
      }
    }
  },

  // Two calls at once keep their indexes.
  async stream_two_tools() {
    const calls = [];
    const answer = await ask(client(), 'What is the weather in Lahore and Delhi?', { tools: [TOOL], stream: true });
    for await (const chunk of answer) {
      for (const piece of chunk.choices[0].delta.tool_calls ?? []) {
        calls[piece.index] ??= { id: piece.id, name: piece.function.name, args: '' };
        calls[piece.index].args += piece.function.arguments ?? '';
      }
    }
    assert.deepEqual(
      calls.map(({ id, name, args }) => [id, name, JSON.parse(args).city]),
      [
        ['call_1', 'get_weather', 'Lahore'],
        ['call_2', 'get_weather', 'Delhi'],
      ],
    );
  },

  async models() {
    const models = new Map();
    for await (const model of client().models.list()) models.set(model.id, model);
    assert.ok(models.has(MODEL) && models.has(SLASHED_MODEL), [...models.keys()].join());
    for (const model of models.values()) {
      assert.equal(model.object, 'model');
      assert.ok(model.owned_by && Number.isInteger(model.created) && model.created >= 0);
    }
    for (const name of [MODEL, SLASHED_MODEL]) {
      const { _request_id: _, ...model } = await client().models.retrieve(name);
      assert.deepEqual(model, { ...models.get(name) });
    }
    const answer = await ask(client(), 'What is the sea?', { model: SLASHED_MODEL });
    assert.deepEqual([answer.model, answer.choices[0].message.content], [SLASHED_MODEL, 'Salt and water.']);
    const error = await refused(OpenAI.NotFoundError, () => client().models.retrieve('no/such-model'));
    checkError(error, 404);
    assert.equal(error.code, 'model_not_found');
  },

  async embeddings() {
    const texts = ['salt', 'water'];
    // The SDK asks for base64 unless told otherwise, and decodes it.
    const standard = await client().embeddings.create({ model: EMBEDDING_MODEL, input: texts });
    const floats = await client().embeddings.create({ model: EMBEDDING_MODEL, input: texts, encoding_format: 'float' });
    for (const answer of [standard, floats]) {
      assert.deepEqual([answer.object, answer.model], ['list', EMBEDDING_MODEL]);
      assert.ok(answer.usage.prompt_tokens > 0);
      assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens);
      // What the provider makes of a text: its length in bytes, a half, minus one, and its position.
      answer.data.forEach((one, position) => {
        assert.deepEqual([one.index, one.object], [position, 'embedding']);
        assert.deepEqual([...one.embedding], [texts[position].length, 0.5, -1, position]);
      });
      assert.equal(answer.data.length, 2);
    }
    const call = () => client().embeddings.create({ model: 'no-such-model', input: 'salt' });
    const error = await refused(OpenAI.NotFoundError, call);
    checkError(error, 404);
    assert.equal(error.code, 'model_not_found');
  },

  // SDK_SOUND is a sound in which the provider hears SDK_SAID, from the beginning on.
  async transcription() {
    const said = process.env.SDK_SAID;
    const hear = (more = {}) => {
      const file = fs.createReadStream(process.env.SDK_SOUND);
      return client().audio.transcriptions.create({ model: 'whisper-1', file, ...more });
    };
    assert.equal((await hear()).text.trim(), said);
    assert.equal((await hear({ response_format: 'json', language: 'en' })).text.trim(), said);
    assert.equal((await hear({ response_format: 'text' })).trim(), said);
    const granularities = { timestamp_granularities: ['word', 'segment'] };
    const verbose = await hear({ response_format: 'verbose_json', ...granularities });
    assert.equal(verbose.text.trim(), said);
    assert.ok(verbose.language && verbose.duration > 0);
    assert.equal(verbose.segments.map((segment) => segment.text).join('').trim(), said);
    assert.deepEqual(verbose.words.map((word) => word.word), said.split(' '));
    const srt = await hear({ response_format: 'srt' });
    assert.match(srt, /^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n/);
    assert.ok(srt.includes(said), srt);
    const vtt = await hear({ response_format: 'vtt' });
    assert.match(vtt, /^WEBVTT\n\n[^]*\b00:00\.\d{3} --> /);
    assert.ok(vtt.includes(said), vtt);
  },

  async no_sound() {
    const file = await toFile(Buffer.from('no sound at all'), 'a.wav');
    const call = () => impatient().audio.transcriptions.create({ model: 'whisper-1', file });
    checkError(await refused(OpenAI.BadRequestError, call), 400);
  },

  async authentication() {
    for (const apiKey of ['bck_wrong', 'x'.repeat(47)]) {
      const error = await refused(OpenAI.AuthenticationError, () => ask(impatient({ apiKey }), 'Hi'));
      checkError(error, 401);
      assert.equal(error.code, 'invalid_api_key');
      assert.ok(!error.message.includes(apiKey), 'the key is not said again');
    }
    const call = () => impatient({ apiKey: 'x' }).models.list();
    checkError(await refused(OpenAI.AuthenticationError, call), 401);
  },

  // SDK_READ_KEY is a key that may only read.
  async permission() {
    const reader = impatient({ apiKey: process.env.SDK_READ_KEY });
    assert.ok((await reader.models.list()).data.length > 0, 'it may read');
    checkError(await refused(OpenAI.PermissionDeniedError, () => ask(reader, 'Hi')), 403);
  },

  async not_found() {
    const error = await refused(OpenAI.NotFoundError, () => ask(impatient(), 'Hi', { model: 'gpt-4o-mni' }));
    checkError(error, 404);
    assert.equal(error.code, 'model_not_found');
    assert.ok(error.message.includes('gpt-4o-mni'), error.message);
    const call = () => ask(impatient(), 'Hi', { model: 'gpt-4o-mni', stream: true });
    checkError(await refused(OpenAI.NotFoundError, call), 404);
    checkError(await refused(OpenAI.NotFoundError, () => impatient().get('/no/such/route')), 404);
  },

  async bad_request() {
    const messages = [{ role: 'user', content: 'Hi' }];
    for (const [param, body] of [
      ['messages', { model: MODEL, messages: [] }],
      ['messages', { model: MODEL, messages: [{ role: 'nobody', content: 'Hi' }] }],
      ['temperature', { model: MODEL, messages, temperature: 9 }],
      ['temperature', { model: MODEL, messages, temperature: 'warm' }],
      ['model', { model: 7, messages }],
    ]) {
      const error = await refused(OpenAI.BadRequestError, () => impatient().chat.completions.create(body));
      checkError(error, 400);
      assert.equal(error.type, 'invalid_request_error');
      assert.ok((error.param ?? '').startsWith(param), `param ${error.param} is not ${param}`);
    }
  },

  // SDK_ARCHIVED is a conversation that is only read.
  async conflict() {
    const call = () => ask(impatient(), 'Hi', { conversation_id: process.env.SDK_ARCHIVED });
    checkError(await refused(OpenAI.ConflictError, call), 409);
  },

  // The provider wants to be left alone for a minute.
  async rate_limit() {
    const call = (more = {}) => ask(impatient(), 'Leave me.', { model: LIMITED_MODEL, ...more });
    const error = await refused(OpenAI.RateLimitError, call);
    checkError(error, 429);
    const seconds = Number(error.headers.get('retry-after'));
    assert.ok(seconds >= 50 && seconds <= 60, `retry-after ${seconds}`);
    const millis = Number(error.headers.get('retry-after-ms'));
    assert.ok(millis >= 50_000 && millis <= 60_000, `retry-after-ms ${millis}`);
    // Now it is not even asked.
    const again = await refused(OpenAI.RateLimitError, () => call({ stream: true }));
    checkError(again, 429);
    assert.ok(Number(again.headers.get('retry-after-ms')) <= 60_000);
  },

  // The provider is down.
  async server() {
    const call = () => ask(impatient(), 'Be away.', { model: AWAY_MODEL });
    const error = await refused(OpenAI.InternalServerError, call);
    checkError(error, error.status);
    assert.equal(typeof error.code, 'string');
  },

  // The provider breaks off after the first word.
  async mid_stream() {
    const answer = await ask(impatient(), 'Break off.', { stream: true });
    const words = [];
    const error = await refused(APIError, async () => {
      for await (const chunk of answer) {
        for (const choice of chunk.choices) if (choice.delta.content) words.push(choice.delta.content);
      }
    });
    assert.equal(words.join(''), 'Half');
    assert.ok(error.message && error.requestID);
    for (const field of ['message', 'type', 'param', 'code']) assert.ok(field in error.error, `no ${field}`);
  },

  // The same in one piece.
  async cut() {
    const error = await refused(OpenAI.InternalServerError, () => ask(impatient(), 'Break off.'));
    checkError(error, error.status);
  },

  // The client's own patience ends.
  async timeout() {
    await refused(APIConnectionTimeoutError, () => ask(impatient({ timeout: 500 }), 'Be silent.'));
  },

  // Nobody is there.
  async connection() {
    const call = () => ask(impatient({ baseURL: NOWHERE }), 'Hi');
    const error = await refused(APIConnectionError, call);
    assert.equal(error.status, undefined);
    assert.equal(error.cause?.cause?.code, 'ECONNREFUSED', String(error.cause?.cause));
  },

  // Refused once for a moment; then answered.
  async retry_limit() {
    const attempts = [];
    const began = Date.now();
    const answer = await ask(counting(attempts), 'Be busy once.');
    assert.equal(answer.choices[0].message.content, 'At last.');
    assert.deepEqual(attempts, ['0 429', '1 200']);
    // The product leaves an account alone for a second at least, and the SDK waits for as long as it is told.
    assert.ok(Date.now() - began >= 900, `${Date.now() - began} ms`);
  },

  async retry_stream() {
    const words = [];
    for await (const chunk of await ask(client(), 'Be busy once more.', { stream: true })) {
      words.push(chunk.choices[0]?.delta.content ?? '');
    }
    assert.equal(words.join(''), 'At last.');
  },

  // Away until the product gives up once; then answered.
  async retry_server() {
    const attempts = [];
    const answer = await ask(counting(attempts), 'Be away twice.', { model: AWAY_MODEL });
    assert.equal(answer.choices[0].message.content, 'At last.');
    assert.equal(attempts.length, 2, attempts.join());
  },

  // The day is used up: a retry would be in vain.
  async no_retry_day() {
    for (let turn = 0; turn < 2; turn++) {
      const attempts = [];
      const began = Date.now();
      const call = () => ask(counting(attempts, { maxRetries: 5 }), 'Be spent.', { model: LIMITED_MODEL });
      const error = await refused(OpenAI.RateLimitError, call);
      checkError(error, 429);
      assert.equal(error.headers.get('x-should-retry'), 'false');
      assert.deepEqual(attempts, ['0 429']);
      assert.ok(Number(error.headers.get('retry-after')) > 3600, 'the true wait');
      assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`);
    }
  },

  // What is wrong stays wrong.
  async no_retry_request() {
    const attempts = [];
    const call = () => ask(counting(attempts, { maxRetries: 5 }), 'Hi', { model: 'gpt-4o-mni' });
    await refused(OpenAI.NotFoundError, call);
    assert.deepEqual(attempts, ['0 404']);
  },

  // Closes a stream after its first word, and stays alive until the test has seen what comes of it.
  async cancel() {
    const answer = await ask(client(), 'Talk.', { stream: true });
    const chunks = answer[Symbol.asyncIterator]();
    for (;;) {
      const { value } = await chunks.next();
      const word = value.choices[0]?.delta.content;
      if (word) {
        assert.equal(word, 'One ');
        break;
      }
    }
    say({ case: 'cancel', reading: true });
    await waitForLine();
    answer.controller.abort();
    say({ case: 'cancel', closed: true });
    await waitForLine();
  },

  // SDK_CONVERSATION is a conversation of the caller; SDK_FOREIGN one of somebody else.
  async conversation() {
    const mine = { conversation_id: process.env.SDK_CONVERSATION };
    const first = await ask(client(), 'My name is Ana.', mine);
    assert.equal(first.choices[0].message.content, 'Hello, Ana.');
    const more = { ...mine, stream: true, stream_options: { include_usage: true } };
    const { text, finish, usage } = await read(await ask(client(), 'What is my name?', more), true);
    assert.deepEqual([text, finish], ['Your name is Ana.', 'stop']);
    assert.ok(usage.prompt_tokens > 0);
    for (const foreign of [process.env.SDK_FOREIGN, '00000000-0000-7000-8000-000000000000']) {
      const call = () => ask(impatient(), 'Hi', { conversation_id: foreign });
      checkError(await refused(OpenAI.NotFoundError, call), 404);
    }
    const call = () => ask(impatient(), 'Hi', { conversation_id: 'no id' });
    const error = await refused(OpenAI.BadRequestError, call);
    checkError(error, 400);
    assert.equal(error.param, 'conversation_id');
  },

  // SDK_CONVERSATION again: the question is stored, so that a retry would say it once more.
  async conversation_no_retry() {
    for (const stream of [false, true]) {
      const attempts = [];
      const more = { model: AWAY_MODEL, conversation_id: process.env.SDK_CONVERSATION, stream };
      const error = await refused(OpenAI.InternalServerError, () => ask(counting(attempts), 'Be away.', more));
      checkError(error, error.status);
      assert.equal(error.headers.get('x-should-retry'), 'false');
      assert.equal(attempts.length, 1, attempts.join());
    }
  },
};

// A client that notes the number and status of each of its attempts.
function counting(attempts, more = {}) {
  return client({
    ...more,
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      attempts.push(`${new Headers(init.headers).get('x-stainless-retry-count')} ${response.status}`);
      return response;
    },
  });
}

async function main() {
  for (const name of process.argv.slice(2)) {
    try {
      const more = await cases[name]();
      say({ case: name, ok: true, ...more });
    } catch (error) {
      process.exitCode = 1;
      say({ case: name, ok: false, error: error.stack ?? String(error) });
    }
  }
}

main();
