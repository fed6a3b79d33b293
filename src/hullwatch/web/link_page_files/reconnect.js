// The page of a login link: shows what the link is for, and opens the login page of Fyers when its button is pressed.
const STORED = "hullwatch-login-link";
const BUTTONS = ["begin", "retry", "send-again"];
const page = document.getElementById("reconnect");
const part = (name) => document.getElementById(name);
const inIst = new Intl.DateTimeFormat("en-IN", {
  timeZone: "Asia/Kolkata", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
});

/** Move the link out of the address, where other people or the history could show it, into the storage of this tab, for a reload. */
function readLink() {
  const fromAddress = location.hash.slice(1);
  if (fromAddress) {
    history.replaceState(null, "", location.pathname);
    try { sessionStorage.setItem(STORED, fromAddress); } catch { /* storage is forbidden: a reload then needs the link again */ }
    return fromAddress;
  }
  try { return sessionStorage.getItem(STORED) ?? ""; } catch { return ""; }
}

/** Send a request; throws an error with the sentence to show and the button that can help. */
async function request(action) {
  let answer;
  try {
    answer = await fetch(`/api/reconnect/${action}`, {
      method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify({ link }),
    });
  } catch {
    throw Object.assign(new Error("The server cannot be reached. Check your connection and try again."), { button: "retry" });
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const isInvalid = answer.status === 410 || body.type === "urn:hullwatch:problem:login-link-in-use" || answer.status === 422;
  // At another address no button of this page can help.
  const helps = body.type === "urn:hullwatch:problem:login-address-differs" ? "" : "retry";
  throw Object.assign(new Error(body.detail ?? "The request failed. Try again."), { button: isInvalid ? "send-again" : helps });
}

/** Show a sentence and at most one button. */
function show(sentence, button, tone = "") {
  const message = part("message");
  message.textContent = sentence;
  message.dataset.tone = tone;
  for (const name of BUTTONS) {
    part(name).hidden = name !== button;
    part(name).disabled = false;
  }
  part("facts").hidden = part("about").hidden = button !== "begin";
  part("alternative").hidden = tone !== "bad";
  page.dataset.state = button || "none";
}

async function open() {
  link = readLink();
  if (!link) {
    show("There is no login link here. Open the link in the message that you received.", "", "bad");
    return;
  }
  show("Checking your link …", "");
  try {
    const opened = await request("open");
    part("requested-by").textContent = opened.requestedBy;
    part("requested-at").textContent = `${inIst.format(new Date(opened.requestedAt))} IST`;
    part("email").textContent = opened.email;
    part("fyers-id").textContent = opened.fyersId;
    part("expires-at").textContent = `${inIst.format(new Date(opened.expiresAt))} IST`;
    show(opened.message, "begin");
  } catch (error) {
    show(error.message, error.button, "bad");
  }
}

async function press(button, work) {
  button.disabled = true;
  try { await work(); } catch (error) { show(error.message, error.button, "bad"); }
}

let link = "";
if (page) {
  const [begin, retry, sendAgain] = BUTTONS.map(part);
  begin.addEventListener("click", () => press(begin, async () => { location.assign((await request("begin")).url); }));
  sendAgain.addEventListener("click", () => press(sendAgain, async () => { show((await request("again")).message, "", "good"); }));
  retry.addEventListener("click", () => press(retry, open));
  addEventListener("hashchange", () => { if (location.hash) void open(); });
  addEventListener("pageshow", (event) => { if (event.persisted) void open(); });
  void open();
} else {
  // The last page: the link was used and is not needed any more.
  try { sessionStorage.removeItem(STORED); } catch { /* nothing was stored */ }
}
