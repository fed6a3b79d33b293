// Makes the REST calls of the Node SDK and prints their results as one JSON line.
'use strict';

const { fyersModel, control, newToken, report } = require('./sdk');

const APP = 'HULLWATCH-100';

async function keep(found, name, call) {
  try {
    found[name] = await call();
  } catch (error) {
    found[name] = { rejected: error };
  }
  await control('POST', '/clock', { advanceSeconds: 1 });
}

async function login(client) {
  const address = client.generateAuthCode();
  const answer = await fetch(`${address}&fyersId=XN00001`, { redirect: 'manual' });
  const code = new URL(answer.headers.get('location')).searchParams.get('auth_code');
  return client.generate_access_token({ client_id: APP, secret_key: 'simulator', auth_code: code });
}

async function main() {
  await newToken('XN00001');
  const found = {};
  const client = new fyersModel({ enableLogging: false });
  client.setAppId(APP);
  client.setRedirectUrl('http://127.0.0.1:9/back');
  found.token = await login(client);
  client.setAccessToken(found.token.access_token);
  const today = (await control('GET', '/clock')).now.slice(0, 10);
  const candles = { symbol: 'NSE:SBIN-EQ', resolution: '5', date_format: '1', range_from: today, range_to: today, cont_flag: '1' };
  await keep(found, 'profile', () => client.get_profile());
  await keep(found, 'funds', () => client.get_funds());
  await keep(found, 'quotes', () => client.getQuotes(['NSE:SBIN-EQ', 'NSE:M&M-EQ']));
  await keep(found, 'depth', () => client.getMarketDepth({ symbol: ['NSE:SBIN-EQ'], ohlcv_flag: 1 }));
  await keep(found, 'history', () => client.getHistory(candles));
  await keep(found, 'marketStatus', () => client.market_status());
  await keep(found, 'optionChain', () => client.getOptionChain({ symbol: 'NSE:NIFTY50-INDEX', strikecount: 2, greeks: 1 }));
  await keep(found, 'badSymbol', () => client.getHistory({ ...candles, symbol: 'NSE:NOPE-EQ' }));
  await keep(found, 'logout', () => client.logout_user());
  await keep(found, 'afterLogout', () => client.getQuotes(['NSE:SBIN-EQ']));
  report(found);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
