// A person's own Fyers app: what to create at Fyers, the pair to enter, and its check.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type FyersApp, Refused, call } from "../api/client";
import { meta } from "../live/store";
import { Action, Field, Form, Loading } from "./bits";

/** Read the app that logins go through; `null` where there is none. */
export async function readApp(): Promise<FyersApp | null> {
  try {
    return await call("get", "/api/fyers/app");
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
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
        {isLoopback() && <span class="hint"> It leads to this computer, which is right while hullwatch runs on it.</span>}</li>
      <li>Permissions: <b>historical data</b> and <b>quotes</b> are enough. hullwatch never trades.</li>
      <li>Note the <b>App ID</b>, with its suffix, as in <code>ABCD1234XY-100</code>, and the <b>Secret ID</b>, and enter both here.</li>
    </ol>
  );
}

export function AppForm({ app, onSaved }: { app: FyersApp | null; onSaved: (app: FyersApp) => void }) {
  const save = async ({ appId = "", secret = "", redirectUri = "" }: Record<string, string>, form: HTMLFormElement) => {
    const saved = await call("put", "/api/fyers/app", { body: { appId: appId.trim(), secret: secret.trim(), redirectUri: redirectUri.trim() } });
    const secretField = form.elements.namedItem("secret");
    if (secretField instanceof HTMLInputElement) secretField.value = "";
    const { message, outcome } = await call("post", "/api/fyers/app/check");
    if (outcome === "refused") throw new Refused(400, "app-refused", message);
    onSaved(saved);
    return `Stored. ${message}`;
  };
  return (
    <Form label="Store and check" busyLabel="Asking Fyers …" onSend={save}>
      {(fields) => <>
        <div class="row">
          <Field label="App ID" error={fields.appId} input={{ name: "appId", required: true, autocomplete: "off", spellcheck: false, placeholder: "ABCD1234XY-100", defaultValue: app?.isOwn ? app.appId : "" }} />
          <input type="text" class="away" name="username" autocomplete="username" tabIndex={-1} aria-hidden="true" />
          <Field label="Secret ID" error={fields.secret} hint="Stored encrypted, never shown again." input={{ name: "secret", type: "password", required: true, autocomplete: "off" }} />
        </div>
        <Field label="Redirect address" error={fields.redirectUri} hint="The one you entered at Fyers. Another one than above works too: you paste the code by hand then."
          input={{ name: "redirectUri", type: "url", required: true, defaultValue: app?.isOwn ? app.redirectUri : meta.value?.callbackUrl ?? "" }} />
      </>}
    </Form>
  );
}

/** Calls `show` with the app once it is known. */
export function WithApp({ children }: { children: (app: FyersApp | null, set: (app: FyersApp | null) => void) => preact.ComponentChildren }) {
  const app = useSignal<FyersApp | null | undefined>(undefined);
  const problem = useSignal("");
  useEffect(() => {
    readApp().then((found) => { app.value = found; }, (error: unknown) => { problem.value = error instanceof Error ? error.message : "It could not be read."; });
  }, []);
  if (problem.value) return <p class="problem" role="alert">{problem.value}</p>;
  if (app.value === undefined) return <Loading rows={2} label="Looking for your Fyers app" />;
  return <>{children(app.value, (changed) => { app.value = changed; })}</>;
}
