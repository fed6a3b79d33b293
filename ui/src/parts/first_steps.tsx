// The three steps of a new user: Fyers app, Fyers login, first symbol.
import { call } from "../api/client";
import { connection, hasSession, monitoring, readOverviewSoon, watchRows } from "../live/store";
import { AppForm, Guide, WithApp } from "./app_form";
import { Action } from "./elements";
import { openFyersLogin } from "./fyers_login";
import { WatchForm } from "./watch_form";

/** Whether a step is still to be done. */
export function isNewUser(): boolean {
  if (!connection.value || !watchRows.value || !monitoring.value) return false;
  const neverConnected = connection.value.state === "never_connected";
  return neverConnected || (watchRows.value.length === 0 && !monitoring.value.isWanted);
}

export function FirstSteps() {
  return (
    <section class="panel steps" aria-labelledby="steps">
      <h1 id="steps">Welcome to hullwatch</h1>
      <p class="lead">Set up monitoring in three steps.</p>
      <WithApp>{(app, setApp) => {
        const isLinked = hasSession.value;
        const step = isLinked ? 3 : app ? 2 : 1;
        return (
          <ol class="stepper">
            <Step number={1} at={step} title={app ? `Your Fyers app: ${app.appId}${app.isOwn ? "" : " (this server’s)"}` : "Create your Fyers app"}>
              <Guide /><AppForm app={app} onSaved={setApp} />
            </Step>
            <Step number={2} at={step} title={isLinked ? `Connected as ${connection.value?.fyersId ?? ""}` : "Connect your Fyers account"}>
              <p>Log in on Fyers’ own page, where hullwatch cannot see your PIN or password. Fyers then brings you back here.</p>
              <Action class="primary" run={() => openFyersLogin()}>Log in to Fyers</Action>
              <details><summary>Use another Fyers app</summary><Guide /><AppForm app={app} onSaved={setApp} /></details>
            </Step>
            <Step number={3} at={step} title="Add your first symbol">
              <WatchForm onDone={() => void call("post", "/api/monitoring/start").then((state) => { monitoring.value = state; readOverviewSoon(); }, readOverviewSoon)} />
            </Step>
          </ol>
        );
      }}</WithApp>
    </section>
  );
}

function Step({ number, at, title, children }: { number: number; at: number; title: string; children: preact.ComponentChildren }) {
  const state = number < at ? "done" : number === at ? "now" : "later";
  return (
    <li data-step={state} aria-current={state === "now" ? "step" : undefined}>
      <h2><span class="number" aria-hidden="true">{state === "done" ? "✓" : number}</span>{title}{state === "done" && <span class="visually-hidden"> (done)</span>}</h2>
      {state === "now" && <div class="step-body">{children}</div>}
    </li>
  );
}
