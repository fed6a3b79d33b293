// The page of a login link: says what the link is about, and leads to Fyers when its button is pressed. Needs nothing but this file.
const KEPT = "hullwatch-login-link";
const page = document.getElementById("reconnect");
const part = (name) => document.getElementById(name);
const inIst = new Intl.DateTimeFormat("en-IN", {
  timeZone: "Asia/Kolkata", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
});

/** Take the link out of the address, where it could be read over a shoulder or kept in the history; a reload finds it in this tab's store. */
function readLink() {
  const given = location.hash.slice(1);
  if (given) {
    history.replaceState(null, "", location.pathname);
    try { sessionStorage.setItem(KEPT, given); } catch { /* forbidden here: then a reload needs the link again */ }
    return given;
  }
  try { return sessionStorage.getItem(KEPT) ?? ""; } catch { return ""; }
}

/** Ask the server; throws an error with the sentence to be shown and what may be done about it. */
async function ask(what) {
  let answer;
  try {
    answer = await fetch(`/api/reconnect/${what}`, {
      method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify({ link }),
    });
  } catch {
    throw Object.assign(new Error("The server cannot be reached. Check your connection, and try again."), { next: "retry" });
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const isDead = answer.status === 410 || said.type === "urn:hullwatch:problem:login-link-taken" || answer.status === 422;
  throw Object.assign(new Error(said.detail ?? "The server could not do it. Try again."), { next: isDead ? "again" : "retry" });
}

/** Show a sentence, and the one button that helps: `go`, `retry`, `again`, or none. */
function show(sentence, button, tone = "") {
  const said = part("said");
  said.textContent = sentence;
  said.dataset.tone = tone;
  for (const name of ["go", "retry", "again"]) {
    part(name).hidden = name !== button;
    part(name).disabled = false;
  }
  part("facts").hidden = part("about").hidden = button !== "go";
  part("else").hidden = tone !== "bad";
  page.dataset.state = button || "none";
}

async function look() {
  link = readLink();
  if (!link) {
    show("There is no login link here. Open the one in the message that you were sent.", "", "bad");
    return;
  }
  show("Looking at your link …", "");
  try {
    const seen = await ask("look");
    part("asked-by").textContent = seen.requestedBy;
    part("asked-at").textContent = `${inIst.format(new Date(seen.askedAt))} IST`;
    part("email").textContent = seen.email;
    part("fyers-id").textContent = seen.fyersId;
    part("expires-at").textContent = `${inIst.format(new Date(seen.expiresAt))} IST`;
    show(seen.message, "go");
  } catch (error) {
    show(error.message, error.next, "bad");
  }
}

async function press(button, work) {
  button.disabled = true;
  try { await work(); } catch (error) { show(error.message, error.next, "bad"); }
}

let link = "";
if (page) {
  part("go").addEventListener("click", () => press(part("go"), async () => { location.assign((await ask("begin")).url); }));
  part("again").addEventListener("click", () => press(part("again"), async () => { show((await ask("again")).message, "", "good"); }));
  part("retry").addEventListener("click", () => press(part("retry"), look));
  addEventListener("hashchange", () => { if (location.hash) void look(); });
  addEventListener("pageshow", (event) => { if (event.persisted) void look(); });
  void look();
} else {
  // The last page: the link has done its work.
  try { sessionStorage.removeItem(KEPT); } catch { /* nothing was kept */ }
}
