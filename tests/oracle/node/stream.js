// Runs the data socket of the Node SDK in one mode and prints the messages as one JSON line.
'use strict';

const { fyersDataSocket, control, newToken, report } = require('./sdk');

const mode = process.argv[3];
const LIMIT_MS = 60_000;
const SYMBOLS = ['NSE:SBIN-EQ', 'NSE:NIFTY50-INDEX', 'NSE:M&M-EQ'];
const seen = [];
let arrived = () => {};

function keep(message) {
  seen.push(message);
  arrived();
}

// Waits until every symbol has a message among those from `first` on.
async function ticksOf(symbols, first) {
  const missing = () => symbols.filter((symbol) => !seen.slice(first).some((tick) => tick.symbol === symbol));
  const limit = AbortSignal.timeout(LIMIT_MS);
  while (missing().length && !limit.aborted) {
    await new Promise((resolve) => {
      arrived = resolve;
      limit.addEventListener('abort', resolve);
    });
  }
  return missing();
}

async function main() {
  const fyersId = `XN-${mode}`;
  const socket = fyersDataSocket.getInstance(`HULLWATCH-100:${await newToken(fyersId)}`, '.', false);
  socket.on('message', keep);
  socket.on('error', keep);
  const connected = new Promise((resolve) => socket.on('connect', resolve));
  socket.connect();
  await connected;
  const symbols = mode === 'depth' ? SYMBOLS.filter((symbol) => !symbol.endsWith('-INDEX')) : SYMBOLS;
  socket.mode(mode === 'lite' ? socket.LiteMode : socket.FullMode);
  socket.subscribe(symbols, mode === 'depth');
  const missing = await ticksOf(symbols, 0);
  const first = seen.length;
  await control('POST', '/clock', { advanceSeconds: 300 });
  missing.push(...(await ticksOf(symbols, first)));
  report({ seen, later: seen.slice(first), missing });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
