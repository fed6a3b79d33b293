// Leads a first-time user from the empty page to the first watched symbol; gone for good once that is done.
import { call } from "../api/client";
import { connection, hasSession, lines, monitoring, readOverviewSoon } from "../live/store";
import { AppForm, Guide, WithApp } from "./app_form";
import { Action } from "./bits";
import { goToFyers } from "./login";
import { WatchForm } from "./watch_form";

/** Whether there is still a step to be made. */
export function isNewcomer(): boolean {
  if (!connection.value || !lines.value || !monitoring.value) return false;
  const neverConnected = connection.value.state === "never_connected";
  return neverConnected || (lines.value.length === 0 && !monitoring.value.isWanted);
}

export function FirstSteps() {
  return (
    <section class="panel steps" aria-labelledby="steps">
      <h1 id="steps">Welcome aboard</h1>
      <p class="lead">Three steps, and your first symbol is watched.</p>
      <WithApp>{(app, setApp) => {
        const isLinked = hasSession.value;
        const step = isLinked ? 3 : app ? 2 : 1;
        return (
          <ol class="stepper">
            <Step number={1} at={step} title={app ? `Your Fyers app: ${app.appId}${app.isOwn ? "" : " (this server’s)"}` : "Make your Fyers app"}>
              <Guide /><AppForm app={app} onSaved={setApp} />
            </Step>
            <Step number={2} at={step} title={isLinked ? `Connected as ${connection.value?.fyersId ?? ""}` : "Connect your Fyers account"}>
              <p>Fyers asks for your login, and brings you back here. hullwatch never sees your PIN or password.</p>
              <Action class="primary" run={() => goToFyers()}>Log in to Fyers</Action>
              <details><summary>Use another Fyers app</summary><Guide /><AppForm app={app} onSaved={setApp} /></details>
            </Step>
            <Step number={3} at={step} title="Watch your first symbol">
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
      <h2><span class="number" aria-hidden="true">{state === "done" ? "✓" : number}</span>{title}{state === "done" && <span class="away"> (done)</span>}</h2>
      {state === "now" && <div class="step-body">{children}</div>}
    </li>
  );
}
