// Points the unmodified Node SDK at the simulator and offers what both scripts need.
'use strict';

const [, , base] = process.argv;
const { Config } = require('fyers-api-v3/config/config');
// The data socket reads its address when it is loaded, so the addresses change first.
Config.SYNC_API = `${base}/api/v3`;
Config.data_Api1 = `${base}/data`;
Config.HSM_SOCKET = `${base.replace('http', 'ws')}/hsm/v1-5/prod`;
const { fyersModel, fyersDataSocket } = require('fyers-api-v3');
// The address of the symbol lookup is fixed in the data socket.
fyersModel.axiosInstance.interceptors.request.use((request) => {
  request.url = request.url.replace('https://api-t1.fyers.in', base);
  return request;
});

async function control(method, path, body) {
  const answer = await fetch(`${base}/simulator${path}`, { method, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function newToken(fyersId) {
  await control('POST', '/accounts', { fyersId, name: 'Asha' });
  return (await control('POST', `/accounts/${fyersId}/token`, {})).accessToken;
}

// Writes one line and ends the process, whose socket would keep it alive.
function report(found) {
  process.stdout.write(`\n${JSON.stringify(found)}\n`, () => process.exit(0));
}

module.exports = { fyersModel, fyersDataSocket, control, newToken, report };
