// One's own Fyers app and connection.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { now } from "../live/clock";
import { dismiss } from "../live/prefs";
import { connection, hasSession } from "../live/store";
import { AppForm, Guide, WithApp } from "../parts/app_form";
import { Action, Dialog, Field, Form, Loading } from "../parts/bits";
import { until, whenIst } from "../parts/format";
import { goToFyers } from "../parts/login";
import { RenewalPanel } from "../parts/renewal";

export function FyersPage() {
  const isSwitching = useSignal(location.hash.startsWith("#/fyers/switch"));
  const known = connection.value;
  return (
    <div class="page narrow">
      <h1>Fyers</h1>
      <section class="panel" aria-labelledby="standing">
        <h2 id="standing">Your connection</h2>
        {!known ? <Loading rows={2} /> : <>
          <p class="lead" data-state={known.state}>{known.message}</p>
          <dl class="facts">
            <dt>Fyers account</dt><dd>{known.fyersId ?? "–"}</dd>
            <dt>Connected since</dt><dd class="num">{whenIst(known.connectedAt, now.value)}</dd>
            <dt>Lasts at most until</dt><dd class="num">{hasSession.value ? `${whenIst(known.expiresAt, now.value)} (${until(known.expiresAt, now.value) || "ending"})` : "–"}</dd>
            <dt>Last confirmed by Fyers</dt><dd class="num">{whenIst(known.lastValidatedAt, now.value)}</dd>
          </dl>
          <div class="buttons">
            <Action class="primary" run={() => goToFyers()}>{hasSession.value ? "Log in again" : "Log in to Fyers"}</Action>
            {hasSession.value && <Action run={disconnect}>Disconnect</Action>}
            {known.fyersId && <button type="button" onClick={() => { isSwitching.value = true; }}>Switch account …</button>}
          </div>
          {known.fyersId && <details><summary>Log in on my phone instead</summary><PhoneLink /></details>}
          <details><summary>My app’s redirect address leads elsewhere: paste the code by hand</summary><Paste /></details>
        </>}
      </section>
      <section class="panel" aria-labelledby="app">
        <h2 id="app">Your Fyers app</h2>
        <WithApp>{(app, setApp) => <>
          {app ? <p class="lead">{app.isOwn ? <>You log in through your own app <code>{app.appId}</code>.</> : <>You log in through this server’s app <code>{app.appId}</code>; you may store your own instead.</>}</p>
            : <p class="lead">None yet.</p>}
          <details open={!app}><summary>{app?.isOwn ? "Change it" : "Set up your own"}</summary><Guide /><AppForm app={app} onSaved={setApp} /></details>
          {app?.isOwn && <div class="buttons"><Action run={async () => { await call("delete", "/api/fyers/app"); setApp(null); location.reload(); }}>Forget this app</Action></div>}
        </>}</WithApp>
      </section>
      <RenewalPanel />
      {isSwitching.value && (
        <Dialog title="Switch to another Fyers account?" onClose={() => { isSwitching.value = false; }}>
          <p>Linked now: <b>{known?.fyersId ?? "none"}</b>. If you log in at Fyers as somebody else, that account takes its place; your watchlist and signals stay.
            If you came back as the wrong one by mistake, log out at Fyers first.</p>
          <div class="buttons">
            <Action class="primary" run={() => goToFyers(true)}>Log in as another account</Action>
            <button type="button" onClick={() => { isSwitching.value = false; }}>Keep {known?.fyersId ?? "it"}</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

/** A link that leads to one's own login on a device that is not signed in here; shown once. */
function PhoneLink() {
  const made = useSignal<{ url: string; expiresAt: string } | null>(null);
  return (
    <>
      <p class="hint">Open it on the phone. It leads to Fyers’ login for your account and does nothing else; it does not sign the phone in here.</p>
      {made.value ? (
        <div class="once" role="status">
          <p>Good until {whenIst(made.value.expiresAt, now.value)}; it is shown this once.</p>
          <p class="copy"><code data-once>{made.value.url}</code><Action class="small" run={() => navigator.clipboard.writeText(made.value?.url ?? "")}>Copy</Action>
            <button type="button" class="small" onClick={() => { made.value = null; }}>Done</button></p>
        </div>
      ) : <div class="buttons"><Action run={async () => { made.value = await call("post", "/api/fyers/link"); }}>Make a link</Action></div>}
    </>
  );
}

async function disconnect(): Promise<void> {
  const ended = await call("post", "/api/fyers/disconnect");
  if (ended.incidentId) dismiss(ended.incidentId); // whoever ends it by hand needs no dialog about it
  connection.value = ended;
}

const Paste = () => (
  <Form label="Use this code" busyLabel="Asking Fyers …" onSend={async ({ authCode = "", switchAccount }, form) => {
    connection.value = await call("post", "/api/fyers/authorize", { body: { authCode, switchAccount: switchAccount === "on" } });
    form.reset();
    return "Connected.";
  }}>
    {() => <>
      <Field label="Auth code, or the whole address Fyers sent you to" input={{ name: "authCode", required: true, autocomplete: "off", spellcheck: false }} />
      <label class="check"><input type="checkbox" name="switchAccount" /> It is another Fyers account than before, and I mean it</label>
    </>}
  </Form>
);
