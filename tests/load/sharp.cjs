// What `baatcheet-worker bench-images` measures, by sharp: `node sharp.cjs measure PHOTO ITERATIONS`, with sharp in
// NODE_PATH; and both side by side: `node sharp.cjs compare OURS THEIRS`, files of what was printed.
'use strict';

const fs = require('fs');

function load() {
  const sharp = require('sharp');
  // One thread, and nothing kept from one turn to the next.
  sharp.concurrency(1);
  sharp.cache(false);
  return sharp;
}

const sharp = process.argv[2] === 'measure' ? load() : null;

const display = (photo) =>
  sharp(photo).rotate().resize(1920, 1920, { fit: 'inside' });

// The thumbnail is made of the display's pixels, as on the other side: quicker than decoding the photo again.
async function both(photo, format) {
  const { data, info } = await display(photo).raw().toBuffer({ resolveWithObject: true });
  const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
  const large = await sharp(data, raw).jpeg({ quality: 80 }).toBuffer();
  const small = await sharp(data, raw).resize(256, 256, { fit: 'inside' }).toFormat(format, { quality: 80 }).toBuffer();
  return [large.length, small.length];
}

// The other way: the photo is decoded twice, the second time at an eighth of its size.
async function twice(photo, format) {
  const large = await display(photo).jpeg({ quality: 80 }).toBuffer();
  const small = await sharp(photo).rotate().resize(256, 256, { fit: 'inside' }).toFormat(format, { quality: 80 }).toBuffer();
  return [large.length, small.length];
}

async function measure(photo, iterations, format, way) {
  const times = [];
  let bytes;
  for (let turn = 0; turn <= iterations; turn++) {
    const began = process.hrtime.bigint();
    bytes = await way(photo, format);
    if (turn > 0) times.push(Number(process.hrtime.bigint() - began) / 1e6);
  }
  times.sort((one, other) => one - other);
  return { medianMs: times[Math.floor(times.length / 2)], bestMs: times[0], displayBytes: bytes[0], thumbnailBytes: bytes[1] };
}

async function measureAll(file, iterations) {
  const photo = fs.readFileSync(file);
  const results = [];
  for (const format of ['jpeg', 'webp']) {
    const ways = [];
    for (const way of [both, twice]) ways.push(await measure(photo, Number(iterations), format, way));
    // Whichever is quicker here.
    ways.sort((one, other) => one.medianMs - other.medianMs);
    const name = { jpeg: 'Jpeg', webp: 'Webp' }[format];
    results.push({ what: `1920 JPEG + 256 ${name}`, ...ways[0] });
  }
  console.log(JSON.stringify(results));
}

function compare(ours, theirs) {
  const runs = (file) => fs.readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const show = (name, it) => console.log(`  ${name.padEnd(10)} median ${it.medianMs.toFixed(1)} ms, best ${it.bestMs.toFixed(1)} ms, ` +
    `${it.displayBytes} + ${it.thumbnailBytes} bytes`);
  const others = runs(theirs);
  runs(ours).forEach((run, turn) => run.forEach((one, what) => {
    const other = others[turn][what];
    console.log(one.what);
    show('baatcheet', one);
    show('sharp', other);
    console.log(`  ratio      ${(one.medianMs / other.medianMs).toFixed(2)} of the medians`);
  }));
}

const [, , command, first, second] = process.argv;
if (command === 'measure') measureAll(first, second);
else if (command === 'compare') compare(first, second);
else process.exitCode = 2;
