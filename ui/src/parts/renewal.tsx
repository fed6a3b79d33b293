// Consent to automatic renewal with refresh token and PIN. Shown only when the server offers it.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Renewal, call } from "../api/client";
import { now } from "../live/clock";
import { connection } from "../live/store";
import { Action, Field, Form } from "./elements";
import { whenIst } from "./format";

export function RenewalPanel() {
  const known = useSignal<Renewal | null>(null);
  const load = async () => { known.value = await call("get", "/api/fyers/renewal"); };
  // A login stores a new refresh token, and an expiry may have tried a renewal.
  const session = connection.value;
  useEffect(() => { load().catch(() => undefined); }, [session?.connectedAt, session?.state, session?.verified]);
  const renewal = known.value;
  if (!renewal?.isOffered) return null;
  return (
    <section class="panel" aria-labelledby="renewal">
      <h2 id="renewal">Automatic renewal</h2>
      <p class="lead" data-renewal={renewal.isOptedIn ? "on" : "off"}>{renewal.message}</p>
      {renewal.isOptedIn && (
        <dl class="facts">
          <dt>Refresh token</dt><dd class="num">{renewal.hasRefreshToken ? `valid until ${whenIst(renewal.refreshTokenExpiresAt, now.value)}` : "arrives with your next login"}</dd>
          <dt>Last attempt</dt><dd class="num">{whenIst(renewal.lastTriedAt, now.value)}</dd>
        </dl>
      )}
      {renewal.isOptedIn && <div class="buttons"><Action run={async () => { await call("delete", "/api/fyers/renewal"); await load(); }}>Stop renewal and delete PIN and token</Action></div>}
      <details key={String(renewal.isOptedIn)}>
        <summary>{renewal.isOptedIn ? "Change the PIN" : "Turn on automatic renewal"}</summary>
        <p class="hint">
          This server stores your Fyers PIN and refresh token, encrypted. Anyone with the server’s database <b>and</b> its key could open a Fyers session
          in your name. hullwatch tries to renew once before your session expires and once after; if Fyers refuses, log in as usual. You can stop at any
          time, which deletes the PIN and the token.
        </p>
        <Form label={renewal.isOptedIn ? "Save the PIN" : "Renew my sessions"} onSend={async ({ pin = "" }, form) => {
          known.value = await call("put", "/api/fyers/renewal", { body: { pin } });
          form.reset();
        }}>
          {(errors) => <Field label="Fyers PIN" error={errors["pin"]} hint="4 to 6 digits. It is never shown again."
            input={{ name: "pin", type: "password", inputMode: "numeric", pattern: "[0-9]{4,6}", maxLength: 6, required: true, autocomplete: "off" }} />}
        </Form>
      </details>
    </section>
  );
}
