// The user's Fyers connection and Fyers app.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { now } from "../live/clock";
import { dismiss } from "../live/preferences";
import { connection, hasSession } from "../live/store";
import { AppForm, Guide, WithApp } from "../parts/app_form";
import { Action, Dialog, Field, Form, Loading } from "../parts/elements";
import { until, whenIst } from "../parts/format";
import { openFyersLogin } from "../parts/fyers_login";
import { RenewalPanel } from "../parts/renewal";

export function FyersPage() {
  const isSwitching = useSignal(location.hash.startsWith("#/fyers/switch"));
  const known = connection.value;
  return (
    <div class="page narrow">
      <h1>Fyers</h1>
      <section class="panel" aria-labelledby="connection">
        <h2 id="connection">Your connection</h2>
        {!known ? <Loading rows={2} /> : <>
          <p class="lead" data-state={known.state}>{known.message}</p>
          <dl class="facts">
            <dt>Fyers account</dt><dd>{known.fyersId ?? "–"}</dd>
            <dt>Connected since</dt><dd class="num">{whenIst(known.connectedAt, now.value)}</dd>
            <dt>Expires at</dt><dd class="num">{hasSession.value ? `${whenIst(known.expiresAt, now.value)} (${until(known.expiresAt, now.value) || "now"})` : "–"}</dd>
            <dt>Last confirmed by Fyers</dt><dd class="num">{whenIst(known.lastValidatedAt, now.value)}</dd>
          </dl>
          <div class="buttons">
            <Action class="primary" run={() => openFyersLogin()}>{hasSession.value ? "Log in again" : "Log in to Fyers"}</Action>
            {hasSession.value && <Action run={disconnect}>Disconnect</Action>}
            {known.fyersId && <button type="button" onClick={() => { isSwitching.value = true; }}>Switch account</button>}
          </div>
          {known.fyersId && <details><summary>Log in on my phone</summary><PhoneLink /></details>}
          <details><summary>Paste the auth code by hand</summary><PasteForm /></details>
        </>}
      </section>
      <section class="panel" aria-labelledby="app">
        <h2 id="app">Your Fyers app</h2>
        <WithApp>{(app, setApp) => <>
          {app ? <p class="lead">{app.isOwn ? <>You log in with your own app <code>{app.appId}</code>.</> : <>You log in with this server’s app <code>{app.appId}</code>. You can store your own instead.</>}</p>
            : <p class="lead">No Fyers app is stored yet. Set up your own below.</p>}
          <details open={!app}><summary>{app?.isOwn ? "Change the app" : "Set up your own app"}</summary><Guide /><AppForm app={app} onSaved={setApp} /></details>
          {app?.isOwn && <div class="buttons"><Action run={async () => { await call("delete", "/api/fyers/app"); setApp(null); location.reload(); }}>Remove this app</Action></div>}
        </>}</WithApp>
      </section>
      <RenewalPanel />
      {isSwitching.value && (
        <Dialog title="Switch to another Fyers account?" onClose={() => { isSwitching.value = false; }}>
          <p>Linked now: <b>{known?.fyersId ?? "none"}</b>. The account you log in to at Fyers replaces it; your watchlist and signals stay.</p>
          <p class="hint">Did you log in with the wrong account by mistake? Log out at Fyers first.</p>
          <div class="buttons">
            <Action class="primary" run={() => openFyersLogin(true)}>Log in with another account</Action>
            <button type="button" onClick={() => { isSwitching.value = false; }}>Keep {known?.fyersId ?? "it"}</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

/** Creates a login link for a device that is not signed in here. The link is shown once. */
function PhoneLink() {
  const link = useSignal<{ url: string; expiresAt: string } | null>(null);
  return (
    <>
      <p class="hint">Open the link on your phone to log in to Fyers. It does not sign the phone in to hullwatch.</p>
      {link.value ? (
        <div class="shown-once" role="status">
          <p>Copy the link now. It is shown only once and expires at {whenIst(link.value.expiresAt, now.value)}.</p>
          <p class="copy"><code data-shown-once>{link.value.url}</code><Action class="small" run={() => navigator.clipboard.writeText(link.value?.url ?? "")}>Copy</Action>
            <button type="button" class="small" onClick={() => { link.value = null; }}>Done</button></p>
        </div>
      ) : <div class="buttons"><Action run={async () => { link.value = await call("post", "/api/fyers/link"); }}>Create a link</Action></div>}
    </>
  );
}

async function disconnect(): Promise<void> {
  const disconnected = await call("post", "/api/fyers/disconnect");
  if (disconnected.incidentId) dismiss(disconnected.incidentId); // the user pressed Disconnect and needs no dialog about it
  connection.value = disconnected;
}

const PasteForm = () => (
  <Form label="Connect" busyLabel="Checking with Fyers …" onSend={async ({ authCode = "", switchAccount }, form) => {
    connection.value = await call("post", "/api/fyers/authorize", { body: { authCode, switchAccount: switchAccount === "on" } });
    form.reset();
    return "Connected to Fyers.";
  }}>
    {() => <>
      <Field label="Auth code, or the full address Fyers redirected you to" input={{ name: "authCode", required: true, autocomplete: "off", spellcheck: false }} />
      <label class="check"><input type="checkbox" name="switchAccount" /> Switch to another Fyers account</label>
    </>}
  </Form>
);
