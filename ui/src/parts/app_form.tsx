// The form for the user's own Fyers app, with instructions and a check at Fyers.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type FyersApp, ApiError, call } from "../api/client";
import { meta } from "../live/store";
import { Action, Field, Form, Loading } from "./elements";

/** Load the Fyers app that logins use; `null` if there is none. */
export async function loadApp(): Promise<FyersApp | null> {
  try {
    return await call("get", "/api/fyers/app");
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

const isLoopback = () => /^https?:\/\/(127\.|localhost|\[::1\])/.test(meta.value?.callbackUrl ?? "");

export function Guide() {
  const address = meta.value?.callbackUrl ?? "";
  return (
    <ol class="guide">
      <li>Log in at <b>myapi.fyers.in/dashboard</b> and press <b>Create App</b>.</li>
      <li>Enter this redirect address, exactly: <span class="copy"><code>{address}</code>
        <Action class="small" run={() => navigator.clipboard.writeText(address)}>Copy</Action></span>
        {isLoopback() && <span class="hint"> It points to this computer. That is right while hullwatch runs here.</span>}</li>
      <li>Allow <b>historical data</b> and <b>quotes</b>. hullwatch needs nothing else and never trades.</li>
      <li>Copy the <b>App ID</b> with its suffix, such as <code>ABCD1234XY-100</code>, and the <b>Secret ID</b> into this form.</li>
    </ol>
  );
}

export function AppForm({ app, onSaved }: { app: FyersApp | null; onSaved: (app: FyersApp) => void }) {
  const save = async ({ appId = "", secret = "", redirectUri = "" }: Record<string, string>, form: HTMLFormElement) => {
    const saved = await call("put", "/api/fyers/app", { body: { appId: appId.trim(), secret: secret.trim(), redirectUri: redirectUri.trim() } });
    const secretField = form.elements.namedItem("secret");
    if (secretField instanceof HTMLInputElement) secretField.value = "";
    const { message, outcome } = await call("post", "/api/fyers/app/check");
    if (outcome === "refused") throw new ApiError(400, "app-refused", message);
    onSaved(saved);
    return `Saved. ${message}`;
  };
  return (
    <Form label="Save and check" busyLabel="Checking with Fyers …" onSend={save}>
      {(fields) => <>
        <div class="row">
          <Field label="App ID" error={fields.appId} input={{ name: "appId", required: true, autocomplete: "off", spellcheck: false, placeholder: "ABCD1234XY-100", defaultValue: app?.isOwn ? app.appId : "" }} />
          <input type="text" class="visually-hidden" name="username" autocomplete="username" tabIndex={-1} aria-hidden="true" />
          <Field label="Secret ID" error={fields.secret} hint="Stored encrypted and never shown again." input={{ name: "secret", type: "password", required: true, autocomplete: "off" }} />
        </div>
        <Field label="Redirect address" error={fields.redirectUri} hint="The redirect address you entered at Fyers. If it differs from the one above, paste the auth code by hand after each login."
          input={{ name: "redirectUri", type: "url", required: true, defaultValue: app?.isOwn ? app.redirectUri : meta.value?.callbackUrl ?? "" }} />
      </>}
    </Form>
  );
}

/** Loads the Fyers app and passes it to its children. */
export function WithApp({ children }: { children: (app: FyersApp | null, set: (app: FyersApp | null) => void) => preact.ComponentChildren }) {
  const app = useSignal<FyersApp | null | undefined>(undefined);
  const problem = useSignal("");
  useEffect(() => {
    loadApp().then((found) => { app.value = found; }, (error: unknown) => { problem.value = error instanceof Error ? error.message : "The data could not be loaded. Try again."; });
  }, []);
  if (problem.value) return <p class="problem" role="alert">{problem.value}</p>;
  if (app.value === undefined) return <Loading rows={2} label="Loading your Fyers app" />;
  return <>{children(app.value, (changed) => { app.value = changed; })}</>;
}
